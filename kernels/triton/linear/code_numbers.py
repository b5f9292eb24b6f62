"""Converts codes of a quantised weight to numbers; on NVIDIA's cards two at a time, in hand-written PTX.

An OR that puts a code into the last bits of a float's mantissa gives that float plus the code; subtracting the float
again is exact. One OR serves both halves of a register. The compiler does not find this by itself and takes twice the
instructions, and with few rows a kernel is limited by instructions, not by memory.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
import triton
import triton.language as tl

_INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)

_AND_OR, _AND_XOR = "0xEA", "0x6A"
"""Truth tables of PTX's `lop3`: `a & b | c` and `(a & b) ^ c`."""


@triton.constexpr_function
def _twice(half):
    """PTX literal of a register with `half` in both halves."""
    return f"0x{half:04X}{half:04X}"


@triton.constexpr_function
def _centred(bits, plane, centre, is_bf16):
    """PTX: `$0` = codes of the plane in the words `$1`, minus `centre`, as two numbers of 16 bits."""
    moved = f"shr.b32 t, $1, {plane * bits};" if plane else "mov.b32 t, $1;"
    mask, name = (1 << bits) - 1, "bf16x2" if is_bf16 else "f16x2"
    one = "0x3F803F80" if is_bf16 else "0x3C003C00"
    if is_bf16 and bits == 8:
        # Seven bits fit into the mantissa of 128. The eighth decides whether to subtract 128 or 256: code - 128.
        less = f"lop3.b32 u, t, 0x00800080, 0xC380C380, {_AND_XOR};"
        mask, magic, rest = 0x7F, 0x4300, 128 - centre
    else:
        magic = 0x4300 if is_bf16 else 0x6400
        less = f"mov.b32 u, {_twice(0x8000 | magic + centre)};"
        rest = 0
    again = f"mov.b32 u, {_twice(0x4300)}; fma.rn.{name} $0, $0, one, u;" if rest else ""
    return (
        f"{{ .reg .b32 t, u, one; {moved} mov.b32 one, {one}; {less} "
        f"lop3.b32 t, t, {_twice(mask)}, {_twice(magic)}, {_AND_OR}; fma.rn.{name} $0, t, one, u; {again} }}"
    )


@triton.constexpr_function
def _scaled(bits, plane, is_bf16):
    """PTX: `$0` = codes of the plane in the words `$1`, times `$2` and `$3`, plus `$4` and `$5`, rounded once.

    Codes of 4 bits have `MAGIC` added, which `$4` and `$5` must compensate.
    """
    if bits == 4:
        moved = f"shr.b32 t, $1, {plane * bits};" if plane else "mov.b32 t, $1;"
        numbers = (
            f"{moved} lop3.b32 t, t, {_twice(15)}, {_twice(0x4300)}, {_AND_OR}; "
            "shl.b32 a, t, 16; and.b32 b, t, 0xFFFF0000; mov.b32 x, a; mov.b32 y, b;"
        )
    else:
        numbers = (
            f"mov.b32 t, 0x4B000000; prmt.b32 a, $1, t, 0x744{plane}; prmt.b32 b, $1, t, 0x744{2 + plane}; "
            "mov.b32 x, a; mov.b32 y, b; add.f32 x, x, 0fCB000000; add.f32 y, y, 0fCB000000;"
        )
    name = "bf16x2" if is_bf16 else "f16x2"
    return (
        f"{{ .reg .b32 t, a, b; .reg .f32 x, y; {numbers} "
        f"fma.rn.f32 x, x, $2, $4; fma.rn.f32 y, y, $3, $5; cvt.rn.{name}.f32 $0, y, x; }}"
    )


MAGIC = tl.constexpr(128)
"""The number with the bits `0x4300` in bf16."""


@triton.jit
def codes_of_plane(words, PLANE: tl.constexpr, BITS: tl.constexpr):
    """The codes in bits `[PLANE * BITS, (PLANE + 1) * BITS)` of each word."""
    return (words >> (PLANE * BITS)) & ((1 << BITS) - 1)


@triton.jit
def numbers_of(words, PLANE: tl.constexpr, BITS: tl.constexpr, CENTRE: tl.constexpr, dtype: tl.constexpr,
               PTX: tl.constexpr):  # fmt: skip
    """The codes of a plane minus `CENTRE`, exactly, in `dtype`; `PTX` selects NVIDIA's instructions."""
    if PTX and not _INTERPRETED and dtype.primitive_bitwidth == 16:
        ASSEMBLY: tl.constexpr = _centred(BITS, PLANE, CENTRE, dtype == tl.bfloat16)
        if dtype == tl.bfloat16:
            return tl.inline_asm_elementwise(ASSEMBLY, "=r,r", [words], tl.bfloat16, is_pure=True, pack=2)
        else:
            return tl.inline_asm_elementwise(ASSEMBLY, "=r,r", [words], tl.float16, is_pure=True, pack=2)
    code = codes_of_plane(words, PLANE, BITS)
    if dtype == tl.float16:
        return (code | 0x6400).to(tl.float16, bitcast=True) - (1024.0 + CENTRE)
    elif dtype == tl.bfloat16 and BITS == 4:
        return (code | 0x4300).to(tl.bfloat16, bitcast=True) - (128.0 + CENTRE)
    elif CENTRE == 128:
        return (code ^ 128).to(tl.int8).to(dtype)
    else:
        return (code.to(tl.int16) - CENTRE).to(dtype)


@triton.jit
def values_of(words, scale, minimum, PLANE: tl.constexpr, BITS: tl.constexpr, CENTRE: tl.constexpr,
              dtype: tl.constexpr, PTX: tl.constexpr):  # fmt: skip
    """`scale * (code - CENTRE) + minimum` of a plane, computed in fp32 and rounded to `dtype`.

    `scale` and `minimum` are fp32 and have the shape of `words`.
    """
    if PTX and not _INTERPRETED and dtype.primitive_bitwidth == 16:
        ASSEMBLY: tl.constexpr = _scaled(BITS, PLANE, dtype == tl.bfloat16)
        less = minimum - scale * (CENTRE + MAGIC if BITS == 4 else CENTRE)
        inputs = [words, scale, less]
        if dtype == tl.bfloat16:
            return tl.inline_asm_elementwise(ASSEMBLY, "=r,r,f,f,f,f", inputs, tl.bfloat16, is_pure=True, pack=2)
        else:
            return tl.inline_asm_elementwise(ASSEMBLY, "=r,r,f,f,f,f", inputs, tl.float16, is_pure=True, pack=2)
    code = codes_of_plane(words, PLANE, BITS).to(tl.int16) - CENTRE
    return (code.to(tl.float32) * scale + minimum).to(dtype)
