// Temporary memory for the kernels.
#pragma once

#include <cstddef>
#include <new>

namespace marcot {

// A buffer that grows on demand; one per thread, kept between calls so that no call has to allocate.
class Scratch {
 public:
    ~Scratch() { ::operator delete(memory_, std::align_val_t(64)); }

    // At least `bytes` bytes, aligned to 64 bytes. Growing the buffer discards its contents.
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
