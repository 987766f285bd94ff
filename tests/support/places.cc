#include "tests/support/places.h"

namespace vmferry::testing {

std::string source_dir() { return VMFERRY_SOURCE_DIR; }
std::string build_dir() { return VMFERRY_BUILD_DIR; }

}  // namespace vmferry::testing
