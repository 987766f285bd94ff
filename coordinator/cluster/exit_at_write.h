#pragma once

#include <atomic>
#include <optional>

#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

// Ends the process at the n-th write to the API server, before it is sent or after it was answered:
// what a crash between any two writes leaves behind must be mended by the next coordinator, and
// tests prove that write by write. Set by the environment: VMFERRY_EXIT_AT_WRITE=17:before.
class ExitAtWrite final : public kube::Writer {
 public:
  struct Point {
    int write = 0;  // from 1
    bool before = true;
  };
  // What the environment says; nothing: never.
  static std::optional<Point> from_environment();

  ExitAtWrite(kube::Writer& direct, Point point) : direct_(direct), point_(point) {}

  Result<kube::Object> create(const kube::ResourceType& type, const kube::Object& object,
                              const kube::WriteOptions& options, std::stop_token stop) override;
  Result<kube::Object> patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                             const nlohmann::json& merge_patch, const kube::WriteOptions& options,
                             std::stop_token stop) override;
  Result<kube::Object> patch_status(const kube::ResourceType& type, const kube::ObjectKey& key,
                                    const nlohmann::json& merge_patch,
                                    std::stop_token stop) override;
  Result<void> remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                      kube::Propagation propagation, const kube::Preconditions& preconditions,
                      std::stop_token stop) override;

 private:
  template <typename Write>
  auto counted(const char* verb, const kube::ResourceType& type, const kube::ObjectKey& key,
               Write write);

  kube::Writer& direct_;
  const Point point_;
  std::atomic<int> writes_{0};
};

}  // namespace vmferry::cluster
