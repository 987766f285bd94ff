#include "coordinator/kube/rest/credentials.h"

#include <algorithm>

#include "common/catalogue.h"
#include "common/fd.h"

namespace vmferry::kube {
namespace {

constexpr std::chrono::minutes kReadAgainAfter{1};

}  // namespace

Result<SecretString> bearer_authorization(const std::string& token) {
  const std::size_t end = token.find_last_not_of(" \t\r\n");
  const std::string text = end == std::string::npos ? "" : token.substr(0, end + 1);
  const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
  if (text.empty() || !printable) {
    return coded_error(ErrorKind::InvalidArgument, code::kClusterCredentials,
                       "the bearer token is {}", text.empty() ? "empty" : "not printable ASCII");
  }
  return SecretString("Bearer " + text);
}

Result<Credential> TokenFile::current(std::stop_token) {
  auto state = state_.lock();
  const SteadyTime now = clock_.steady();
  if (!state->stale && now - state->read_at < kReadAgainAfter) return state->credential;
  Result<SecretString> fresh = [&]() -> Result<SecretString> {
    return bearer_authorization(TRY(read_file(path_)));
  }();
  if (!fresh) {
    // While it is being replaced the file may be missing for a moment: the old token still counts.
    if (state->credential.generation != 0 && !state->stale) return state->credential;
    return Error(ErrorKind::PermissionDenied, code::kClusterCredentials,
                 path_ + ": " + fresh.error().message());
  }
  if (state->credential.generation == 0 || *fresh != state->credential.authorization) {
    const std::uint64_t generation = state->credential.generation + 1;
    state->credential = base_;
    state->credential.authorization = *std::move(fresh);
    state->credential.generation = generation;
  }
  state->read_at = now;
  state->stale = false;
  return state->credential;
}

bool TokenFile::refused(std::uint64_t generation) {
  auto state = state_.lock();
  if (state->credential.generation != generation) return true;  // replaced meanwhile
  state->stale = true;
  return true;
}

}  // namespace vmferry::kube
