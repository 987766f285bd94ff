#include "transfer/sources/private_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace vmferry {

// A Unix socket's address holds 107 bytes; this much of them for the directory's name and the
// socket's within it.
constexpr std::size_t kLongestBase = 107 - 40;

Result<std::unique_ptr<PrivateDirectory>> PrivateDirectory::make(const std::string& parent) {
  std::string base = parent;
  if (base.empty() || base.size() > kLongestBase) {
    const char* configured = ::getenv("TMPDIR");
    base = configured != nullptr && *configured != '\0' ? configured : P_tmpdir;
  }
  std::string path = base + "/vmferry-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return errno_error(errno, "make a private directory in '" + base + "'");
  }
  return std::unique_ptr<PrivateDirectory>(new PrivateDirectory(std::move(path)));
}

PrivateDirectory::~PrivateDirectory() {
  std::error_code ignored;  // what is left behind is empty of secrets and readable by us alone
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace vmferry
