// Calls the kernels for a test in another process, which may be built for another instruction set or with sanitizers.
//
// A request on stdin is a function's name (its length in one byte first) and its arguments as the function's type has
// them: 8 bytes for a number; for a pointer -1, or the number of bytes and the bytes, then a number of places in them
// that hold pointers in turn: (offset, number of bytes, bytes). The answer on stdout is the result and, of everything
// that the function may write, the number of the argument and the contents; -1 ends it. Each piece of memory is
// allocated by itself and exactly as large as it must be, so that a sanitizer sees the first byte beyond it.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "marcot.cpp"

#ifdef __SANITIZE_THREAD__
// The sanitizer does not know how GNU's OpenMP makes its threads wait, but it knows std::thread.
#include <thread>

static thread_local int own_number = 0;

extern "C" int omp_get_thread_num() noexcept { return own_number; }

extern "C" void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned) {
    std::vector<std::thread> others;
    for (unsigned number = 1; number < threads; number++)
        others.emplace_back([=] {
            own_number = number;
            work(data);
        });
    work(data);
    for (std::thread& other : others) other.join();
}
#endif

namespace {

void read_bytes(void* to, size_t bytes) {
    if (std::fread(to, 1, bytes, stdin) != bytes) std::exit(1);
}

void write_integer(int64_t value) { std::fwrite(&value, 1, sizeof value, stdout); }

int64_t read_integer() {
    int64_t value;
    read_bytes(&value, sizeof value);
    return value;
}

class Call {
 public:
    ~Call() {
        for (void* memory : allocated_) std::free(memory);
    }

    template <typename Result, typename... Parameters>
    void run(Result (*function)(Parameters...)) {
        std::tuple<Parameters...> arguments{argument<Parameters>()...};  // braces: from left to right
        int64_t result = 0;
        if constexpr (std::is_void_v<Result>)
            std::apply(function, arguments);
        else
            result = std::apply(function, arguments);
        write_integer(result);
        for (const auto& [number, piece] : writable_) {
            write_integer(number);
            std::fwrite(piece.memory, 1, piece.bytes, stdout);
        }
        write_integer(-1);
    }

 private:
    struct Piece {
        uint8_t* memory;
        size_t bytes;
    };

    Piece piece(int64_t bytes) {
        const Piece read{(uint8_t*)std::malloc(bytes), (size_t)bytes};
        allocated_.push_back(read.memory);
        read_bytes(read.memory, read.bytes);
        return read;
    }

    template <typename T>
    T argument() {
        const int64_t number = arguments_++;
        if constexpr (std::is_pointer_v<T>) {
            const int64_t bytes = read_integer();
            if (bytes < 0) return nullptr;
            const Piece whole = piece(bytes);
            for (int64_t pointers = read_integer(); pointers > 0; pointers--) {
                const int64_t offset = read_integer();
                uint8_t* memory = piece(read_integer()).memory;
                std::memcpy(whole.memory + offset, &memory, sizeof memory);
            }
            if constexpr (!std::is_const_v<std::remove_pointer_t<T>>) writable_.emplace_back(number, whole);
            return (T)whole.memory;
        } else {
            T value;
            static_assert(sizeof value == 8);
            read_bytes(&value, sizeof value);
            return value;
        }
    }

    std::vector<void*> allocated_;
    std::vector<std::pair<int64_t, Piece>> writable_;
    int64_t arguments_ = 0;
};

void run(const std::string& name, Call& call) {
#define FUNCTION(function) \
    if (name == #function) return call.run(marcot_##function)
    FUNCTION(width);
    FUNCTION(packed_bytes);
    FUNCTION(pack);
    FUNCTION(embed);
    FUNCTION(linear);
    FUNCTION(rms_norm);
    FUNCTION(rope_store);
    FUNCTION(tree_attention);
    FUNCTION(silu_mul);
    FUNCTION(lm_head_topk);
    FUNCTION(sample);
    FUNCTION(advance);
    FUNCTION(run_layers);
    std::fprintf(stderr, "no function %s\n", name.c_str());
    std::exit(1);
}

}  // namespace

int main() {
    for (int length; (length = std::getchar()) != EOF;) {
        std::string name(length, ' ');
        read_bytes(name.data(), name.size());
        Call call;
        run(name, call);
        std::fflush(stdout);
    }
}
