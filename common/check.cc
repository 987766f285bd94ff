#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace vmferry {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  std::abort();
}

}  // namespace vmferry
