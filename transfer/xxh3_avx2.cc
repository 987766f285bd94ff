// CMake compiles this file alone for AVX2, so it must not instantiate any template or inline
// function of C++: the linker may take that copy for callers on lesser processors.
#include "transfer/xxh3_avx2.h"

#ifdef __AVX2__

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vmferry {

void xxh3_128_avx2(const void* data, std::size_t size, unsigned char* out) {
  static_assert(XXH_VECTOR == XXH_AVX2);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
  memcpy(out, canonical.digest, sizeof canonical.digest);
}

bool has_xxh3_avx2() { return __builtin_cpu_supports("avx2") != 0; }

}  // namespace vmferry

#else

namespace vmferry {

void xxh3_128_avx2(const void*, std::size_t, unsigned char*) {}
bool has_xxh3_avx2() { return false; }

}  // namespace vmferry

#endif
