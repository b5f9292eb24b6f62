// Working memory.
#pragma once

#include <cstddef>
#include <new>

namespace marcot {

// Memory that one thread keeps from call to call.
class Scratch {
 public:
    ~Scratch() { ::operator delete(memory_, std::align_val_t(64)); }

    // At least `bytes` bytes, aligned to 64; the contents are lost when it grows.
    void* bytes(size_t bytes) {
        if (bytes > size_) {
            ::operator delete(memory_, std::align_val_t(64));
            memory_ = ::operator new(bytes, std::align_val_t(64));
            size_ = bytes;
        }
        return memory_;
    }

    template <typename T>
    T* of(size_t count) {
        return static_cast<T*>(bytes(count * sizeof(T)));
    }

 private:
    void* memory_ = nullptr;
    size_t size_ = 0;
};

}  // namespace marcot
