#include <array>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/client.h"

namespace vmferry::ovirt {
namespace {

// The engine has no machine codes: these are the words it uses for what passes by itself
// (source-ovirt.md 1.3).
constexpr auto kBusyWords =
    std::to_array<std::string_view>({"locked", "in progress", "is being", "currently being"});

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

bool Reply::is_busy() const {
  if (!fault || (status >= 400 && status != 409)) return false;
  const std::string words = lower(*fault);
  for (const std::string_view word : kBusyWords) {
    if (words.find(word) != std::string::npos) return true;
  }
  return false;
}

Error Reply::error(std::string_view what) const {
  const std::string why = fault ? *fault : fmt::format("status {}", status);
  if (is_busy()) {
    return coded_error(ErrorKind::Unavailable, code::kDiskLocked, "{}: {}", what, why);
  }
  if (status >= 500) {
    return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable,
                       "{}: the engine answered status {}: {}", what, status, why);
  }
  switch (status) {
    case 401:
      return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                         "{}: the engine refused the session", what);
    case 403:
      return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                         "{}: the account may not do this: {}", what, why);
    case 404:
      return make_error(ErrorKind::NotFound, "{}: {}", what, why);
    case 409:
      return coded_error(ErrorKind::InvalidArgument, code::kVmState, "{}: {}", what, why);
    default:
      return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol, "{}: {}", what, why);
  }
}

}  // namespace vmferry::ovirt
