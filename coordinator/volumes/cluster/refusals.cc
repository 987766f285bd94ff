#include "coordinator/volumes/cluster/refusals.h"

#include <algorithm>
#include <array>

#include "common/catalogue.h"

namespace vmferry::volumes {
namespace {

bool says(const Error& error, std::string_view words) {
  return error.message().find(words) != std::string::npos;
}

// The words of ResourceQuota and LimitRanger (k8s.io/apiserver, plugin/pkg/admission): the API has
// no reason of its own for either.
constexpr std::array<std::string_view, 7> kQuotaWords{
    "exceeded quota",           "insufficient quota",        "failed quota",
    "status unknown for quota", "maximum storage usage per", "minimum storage usage per",
    "usage per Container is"};

}  // namespace

Error explained(const Error& error, std::string_view otherwise) {
  const bool is_plain = error.code().empty() || error.code() == code::kForbidden;
  if (!is_plain && error.code() != code::kManifest) return error;
  for (const std::string_view words : kQuotaWords) {
    if (says(error, words)) {
      return Error(ErrorKind::ResourceExhausted, code::kQuota, error.message());
    }
  }
  switch (error.kind()) {
    case ErrorKind::PermissionDenied:
      if (!error.code().empty()) return error;
      return Error(error.kind(), otherwise, error.message());
    case ErrorKind::InvalidArgument:
      return Error(error.kind(), otherwise, error.message());
    case ErrorKind::NotFound:
      return Error(ErrorKind::Unavailable, error.message());  // the namespace goes
    default:
      return error;
  }
}

bool is_mendable(const Error& error) {
  constexpr std::array<std::string_view, 9> kMendable{
      code::kQuota,     code::kHolderRefused, code::kStorageClass,
      code::kWebhook,   code::kPodSecurity,   code::kForbidden,
      code::kNameTaken, code::kApiMissing,    code::kTargetTooSmall};
  return std::ranges::find(kMendable, error.code()) != kMendable.end();
}

}  // namespace vmferry::volumes
