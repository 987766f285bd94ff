#pragma once

#include <map>

#include "coordinator/kube/reader.h"

namespace vmferry::cli {

// A store as it would be after these objects were applied; nothing is written. An object that
// exists keeps its uid, age and status, and a field that the new one lacks is gone rather than
// kept: a close view, not a merge. Watching is Unimplemented.
class OverlayReader final : public kube::Reader {
 public:
  explicit OverlayReader(kube::Reader& below) : below_(below) {}
  // NotFound apart, errors are those of the store below.
  Result<void> put(const kube::ResourceType& type, kube::Object object, std::stop_token stop);

  // Puts it as it is.
  void replace(const kube::ResourceType& type, kube::Object object);

  Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                           std::stop_token stop) override;
  Result<kube::ObjectList> list(const kube::ResourceType& type, const kube::ListOptions& options,
                                std::stop_token stop) override;
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             const std::string& resource_version,
                                             std::stop_token stop) override;

 private:
  kube::Reader& below_;
  std::map<kube::ResourceType, std::map<kube::ObjectKey, kube::Object>> above_;
};

// The uid of an import that does not exist yet.
inline constexpr const char* kUidToCome = "00000000-0000-0000-0000-000000000000";

}  // namespace vmferry::cli
