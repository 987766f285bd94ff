#pragma once

#include <string>
#include <string_view>

namespace vmferry {

// `name` as one file name: letters, digits, '-', '_' and inner '.' stay, other bytes become %XX.
// Different names give different file names, which are at most 200 bytes long (a longer one ends in
// a digest of the whole) and never "", "." or "..".
std::string safe_file_name(std::string_view name);

}  // namespace vmferry
