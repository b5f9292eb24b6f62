"""`make kernel-report`: what is read from binaries, occupancy, the bars, and one kernel that is really compiled."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from marcot.kernels.triton.variants import all_variants
from support.programs import interruptible
from triton.runtime.jit import JITFunction

from bench.kernel_report.binary import Instructions, Loads, gcn_instructions, resource_usage, sass_instructions
from bench.kernel_report.code_object import kernel_metadata
from bench.kernel_report.compile_workers import Failure, outcomes
from bench.kernel_report.occupancy import KB, LIMITS, Needs, resident_blocks
from bench.kernel_report.source import fingerprint
from bench.kernel_report.table import Key, Row, missed, outdated, read_rows, regressions, write_rows
from bench.kernel_report.target import TARGETS

ROOT = Path(__file__).parents[3]

ROW = Row(
    registers=96, spilled=0, parked=0, stored=0, loaded=0, stack=0, shared=40 * KB, tensor_columns=0, threads=128,
    blocks=4, tensor={"HMMA": 64}, loads=Loads(8, 10), copies=Loads(16, 16), multiplies=True, source="0a",
)  # fmt: skip
KEY = Key("sm_80", "tree_attention bf16 d128 m64")


class TestOccupancy:
    """Published examples."""

    @pytest.mark.parametrize(("warps", "blocks"), [(4, 12), (10, 4)])
    def test_registers_as_in_the_cuda_best_practices_guide(self, warps: int, blocks: int) -> None:
        """37 registers: 12 blocks of 128 threads, 75 % of the warps, or 4 of 320 threads, 63 %."""
        assert resident_blocks(LIMITS["sm_80"], Needs(warps, 37, 0)) == blocks

    @pytest.mark.parametrize(
        ("target", "shared", "blocks"),
        [("sm_80", 163, 1), ("sm_80", 164, 0), ("sm_80", 81, 2), ("sm_80", 82, 1), ("sm_90", 227, 1), ("sm_86", 99, 1),
         ("sm_120", 49, 2), ("sm_100", 113, 2), ("sm_100", 114, 1)],
    )  # fmt: skip
    def test_shared_memory_as_in_the_tuning_guides(self, target: str, shared: int, blocks: int) -> None:
        """Every block takes one KB more; the most is 163 KB on an A100, 227 on an H100, 99 on GeForce cards."""
        assert resident_blocks(LIMITS[target], Needs(4, 32, shared * KB)) == blocks

    @pytest.mark.parametrize(("target", "blocks"), [("sm_80", 32), ("sm_86", 16), ("sm_89", 24), ("sm_90", 32)])
    def test_small_blocks_are_limited_in_number(self, target: str, blocks: int) -> None:
        assert resident_blocks(LIMITS[target], Needs(1, 16, 0)) == blocks

    @pytest.mark.parametrize(
        ("registers", "warps"), [(24, 8), (64, 8), (72, 7), (80, 6), (84, 5), (100, 4), (144, 3), (200, 2), (256, 2)]
    )
    def test_registers_of_cdna_as_in_llvm(self, registers: int, warps: int) -> None:
        """llvm/test/CodeGen/AMDGPU/occupancy-levels.ll, the lines of GFX950: warps of each of four schedulers."""
        assert resident_blocks(LIMITS["gfx942"], Needs(4, registers, 0, scalars=32)) == warps

    @pytest.mark.parametrize(("scalars", "warps"), [(86, 7), (94, 7), (106, 6)])
    def test_scalar_registers_of_cdna_as_in_llvm(self, scalars: int, warps: int) -> None:
        """The lines of GFX950TRAP; 80, 88 and 100 there, without the 6 registers that every kernel adds."""
        assert resident_blocks(LIMITS["gfx942"], Needs(4, 24, 0, scalars=scalars)) == warps

    @pytest.mark.parametrize(
        ("registers", "warps"), [(96, 16), (100, 12), (128, 10), (144, 10), (168, 9), (200, 7), (256, 5)]
    )
    def test_registers_of_rdna_as_in_llvm(self, registers: int, warps: int) -> None:
        """The lines of GFX1100W32."""
        assert resident_blocks(LIMITS["gfx1100"], Needs(4, registers, 0)) == warps

    def test_tensor_memory_is_shared_out(self) -> None:
        assert resident_blocks(LIMITS["sm_100"], Needs(4, 32, 0, tensor_columns=256)) == 2


class TestReading:
    def test_resources_of_the_kernel_that_is_asked_for(self) -> None:
        """From NVIDIA's forum, "Cuobjdump register usage information"."""
        text = (
            "Resource usage:\n Common:\n  GLOBAL:0\n Function _Z1kPfS_:\n"
            "  REG:17 STACK:8 SHARED:0 LOCAL:0 CONSTANT[0]:336 CONSTANT[2]:60 TEXTURE:0 SURFACE:0 SAMPLER:0\n"
            " Function _Z1ff:\n  REG:14 STACK:0 SHARED:0 LOCAL:0 TEXTURE:0 SURFACE:0 SAMPLER:0\n"
        )
        usage = resource_usage(text, "_Z1kPfS_")
        assert (usage["REG"], usage["STACK"], usage["CONSTANT[0]"]) == (17, 8, 336)
        assert resource_usage(text, "_Z1ff")["REG"] == 14
        with pytest.raises(ValueError, match="resources of _Z1g"):
            resource_usage(text, "_Z1g")

    def test_sass(self) -> None:
        sass = """
        .section	.text.k,"ax",@progbits
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E.EF.64 R4, desc[UR4][R2.64] ;
        /*0030*/             @UP1  LDG.E.U16 R4, [R2.64] ;
        /*0040*/                   LDGSTS.E.BYPASS.LTC128B.128 [R7], [R2.64] ;
        /*0050*/                   LDGSTS.E [R7], [R2.64] ;
        /*0060*/                   UTMALDG.2D [UR4], [UR8] ;
        /*0070*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
        /*0080*/                   HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0090*/                   UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8], tmem[UR10], idesc[UR11], UP0 ;
        /*00a0*/                   STL.128 [R1+0x10], R4 ;
        /*00b0*/               @P2 LDL.LU R4, [R1+0x10] ;
        /*00c0*/                   LDS.128 R4, [R7] ;
        /*00d0*/                   HFMA2.MMA R4, -RZ, RZ, 0, 0 ;
        """
        assert sass_instructions(sass) == Instructions({"HMMA": 2, "UTCHMMA": 1}, Loads(1, 3), Loads(2, 3), 16, 4)

    def test_gcn(self) -> None:
        assembly = """
kernel:
	global_load_dwordx4 v[0:3], v4, s[0:1]
	global_load_b128 v[0:3], v4, s[0:1]
	buffer_load_dwordx2 v[0:1], v4, s[8:11], 0 offen
	global_load_d16_hi_b16 v0, v4, s[0:1]
	global_load_short_d16 v0, v4, s[0:1]
	buffer_load_dwordx4 v4, s[8:11], 0 offen lds
	global_load_lds_dword v[0:1], off
	s_load_dwordx4 s[0:3], s[4:5], 0x0
	scratch_store_dwordx2 off, v[0:1], off offset:4 ; 8-byte Folded Spill
	scratch_load_b32 v0, off, off offset:4
	v_mfma_f32_32x32x8_bf16_1k a[0:15], v[0:1], v[2:3], a[0:15]
	v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]
	; v_mfma_f32 in a comment
	.amdhsa_next_free_vgpr 32
"""
        found = gcn_instructions(assembly)
        assert found == Instructions({"MFMA": 1, "WMMA": 1}, Loads(2, 5), Loads(1, 2), 8, 4)

    @pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(60)], ids=["nothing", "32 bits"])
    def test_what_is_no_code_object_is_refused(self, content: bytes) -> None:
        with pytest.raises(ValueError, match="not a 64-bit"):
            kernel_metadata(content)


class TestBars:
    def test_a_good_row_misses_none(self) -> None:
        assert not list(missed({KEY: ROW}))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"stored": 8, "parked": 7}, "spills (8 bytes stored, 0 loaded)"),
            ({"spilled": 3}, "spills (3 registers, 0 bytes stored, 0 loaded)"),
            ({"stack": 16}, "16 bytes of stack"),
            ({"blocks": 1}, "1 blocks per processor, asked 2"),
            ({"tensor": {}}, "products without tensor cores"),
        ],
    )
    def test_each_is_named(self, change: dict[str, object], message: str) -> None:
        assert list(missed({KEY: ROW._replace(**change)})) == [f"sm_80, tree_attention bf16 d128 m64: {message}"]

    def test_what_the_disassembler_does_not_know_is_not_held_against_a_row(self) -> None:
        assert not list(missed({KEY: ROW._replace(tensor=None, loads=None, copies=None, stored=None, loaded=None)}))

    def test_blocks_count_for_attention_on_two_targets(self) -> None:
        row = ROW._replace(blocks=1)
        assert not list(missed({Key("sm_86", KEY.variant): row, Key("sm_80", "linear int4"): row}))
        assert list(missed({Key("sm_90", "linear int4"): row._replace(blocks=0)}))


class TestRegressions:
    def test_the_same_rows_are_none(self) -> None:
        assert not list(regressions({KEY: ROW}, {KEY: ROW}))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"stored": 8}, "spills 8, were 0"),
            ({"stack": 8}, "8 bytes of stack, were 0"),
            ({"blocks": 3}, "3 blocks per processor, were 4"),
            ({"tensor": {"FMA": 1}}, "no more HMMA"),
            ({"loads": Loads(0, 40)}, "no more loads of 128 bits"),
            ({"copies": Loads(0, 0)}, "no more copies of 128 bits"),
        ],
    )
    def test_each_is_named(self, change: dict[str, object], message: str) -> None:
        worse = {KEY: ROW._replace(**change)}
        assert list(regressions({KEY: ROW}, worse)) == [f"{KEY}: {message}"]
        assert not [line for line in regressions(worse, {KEY: ROW}) if "FMA" not in line]


class TestTable:
    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        rows = {KEY: ROW, Key("gfx942", "a"): ROW._replace(tensor=None, loads=None, copies=None)}
        write_rows(tmp_path / "table.json", rows)
        assert read_rows(tmp_path / "table.json") == rows
        assert [path.name for path in tmp_path.iterdir()] == ["table.json"]

    def test_rows_that_are_gone_new_or_of_another_source_are_named(self) -> None:
        new, changed = Key("sm_90", KEY.variant), Key("sm_86", KEY.variant)
        table = {KEY: ROW, changed: ROW}
        assert not list(outdated(table, {KEY: "0a", changed: "0a"}))
        assert list(outdated(table, {changed: "0b", new: "0a"})) == [
            f"{KEY}: no such variant any more",
            f"{changed}: has changed since the table was made",
            f"{new}: not in the table",
        ]

    def test_a_fingerprint_is_of_what_a_kernel_calls_and_not_of_where_it_is_written(self, tmp_path: Path) -> None:
        first, moved, other = (
            kernel_of(text, tmp_path)
            for text in (SOURCE, "\n\n" + SOURCE.replace("# two", ""), SOURCE.replace("2", "3"))
        )
        assert fingerprint(first, 1) == fingerprint(moved, 1)
        assert len({fingerprint(first, 1), fingerprint(first, 2), fingerprint(other, 1)}) == 3


SOURCE = """
from triton.runtime.jit import JITFunction

@JITFunction
def helper(x):
    return x + 2  # two

@JITFunction
def kernel(x):
    \"\"\"Says what.\"\"\"
    return helper(x)
"""


def kernel_of(source: str, folder: Path) -> JITFunction:
    """Import this source as a module and return its kernel, outside Triton's interpreter."""
    path = folder / f"module_{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


def test_a_compiler_that_dies_takes_only_its_own_job_with_it() -> None:
    dies, fails = "__import__('os')._exit(7)", "print('said before', flush=True) or 1 // 0"
    assert dict(outcomes(eval, ["1 + 1", dies, fails, "2 + 2"], 1)) == {
        "1 + 1": 2,
        dies: Failure("the compiler ended with exit code 7"),
        fails: Failure("ZeroDivisionError: integer division or modulo by zero\nsaid before"),
        "2 + 2": 4,
    }


def test_workers_share_the_jobs_and_are_gone_when_nobody_asks_for_more() -> None:
    jobs = [f"__import__('os').getpid() + 0 * {number}" for number in range(8)]
    assert len({worker for _, worker in outcomes(eval, jobs, 2)}) == 2
    stopped = outcomes(eval, jobs, 2)
    _, worker = next(stopped)
    stopped.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_variants_have_names_of_their_own_and_every_argument(target) -> None:
    names = set()
    for variant in all_variants(target.arch):
        assert variant.name not in names
        names.add(variant.name)
        assert variant.signature.keys() | variant.constants.keys() == set(variant.kernel.arg_names), variant.name
        assert not variant.signature.keys() & variant.constants.keys(), variant.name
        assert set(variant.aligned) <= variant.signature.keys(), variant.name
    assert any("fp16" in name for name in names)
    assert any("bf16" in name for name in names)


def report(folder: Path, *arguments: str) -> list[str]:
    """The command, with an empty compile cache and its own table."""
    script = (
        "import typer; from pathlib import Path; from bench.kernel_report import __main__ as program; "
        f"folder = Path({str(folder)!r}); "
        "program._TABLE, program._PAGE = folder / 'table.json', folder / 'page.md'; "
        "typer.run(program.kernel_report)"
    )
    return [sys.executable, "-c", script, *arguments]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the command writes, Triton's cache included."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "page.md").write_text("before\n<!-- kernel-report -->\nold\n<!-- /kernel-report -->\nafter\n")
    return tmp_path


def test_one_kernel_is_compiled_for_two_vendors_and_held_to_the_table(fresh: Path) -> None:
    """Run it in its own process, because Triton interprets in this one."""
    part = ("--targets", "sm_80 gfx942", "--variants", "silu_mul bf16*, nothing", "--workers", "1")
    run = partial(subprocess.run, capture_output=True, text=True, timeout=300, check=False)
    first = run(report(fresh, *part, "--update"))
    assert first.returncode == 0
    assert "gfx942 (MI300X" in first.stdout
    rows = read_rows(fresh / "table.json")
    assert {key.target for key in rows} == {"sm_80", "gfx942"}
    for key, row in rows.items():
        assert key.variant.startswith("silu_mul bf16")
        assert row.threads == 4 * TARGETS[key.target].arch.warp
        assert row.registers > 4
        assert row.blocks > 1
        assert row.loads is not None
        assert row.loads.all == 2, "gate and up"
        assert (row.tensor, row.spills, row.stack, row.multiplies) == ({}, 0, 0, False)
    page = (fresh / "page.md").read_text()
    assert page.startswith("before\n<!-- kernel-report -->\n| op")
    assert page.endswith("|\n<!-- /kernel-report -->\nafter\n")
    assert "| `silu_mul`, 0 or 1 |" in page

    key, row = next(iter(rows.items()))
    write_rows(fresh / "table.json", rows | {key: row._replace(blocks=row.blocks + 1)})
    worse = run(report(fresh, *part, "--check"))
    assert worse.returncode == 1
    assert f"worse: {key}: {row.blocks} blocks per processor, were {row.blocks + 1}\n" in worse.stderr
    assert re.search(r"outdated: sm_80, \S+ .*: not in the table\n", worse.stderr)
    assert worse.stderr.endswith("make kernel-report CHANGED=1 UPDATE=1\n")
    assert f"outdated: {key}" not in worse.stderr


def test_an_unknown_target_is_a_message(fresh: Path) -> None:
    ended = subprocess.run(report(fresh, "--targets", "sm_81"), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "known are sm_80" in ended.stderr.replace("\n", " ")


def test_ctrl_c_leaves_the_table_alone(fresh: Path) -> None:
    (fresh / "table.json").write_text("{ }")
    process = interruptible.start(report(fresh, "--update", "--variants", "silu_mul*", "--workers", "1"))
    deadline = time.monotonic() + 60
    while not (fresh / "cache").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("stopped")
    assert "Traceback" not in said
    assert (fresh / "table.json").read_text() == "{ }"
