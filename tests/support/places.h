#pragma once

#include <string>

// Where the tests find what the repository holds and what the build made. Functions, so that one
// object file alone depends on the place of a checkout and a compiler cache serves all of them.
namespace vmferry::testing {

std::string source_dir();  // the repository
std::string build_dir();   // build/<preset>

}  // namespace vmferry::testing
