#include "coordinator/cluster/exit_at_write.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace vmferry::cluster {
namespace {

constexpr int kExit = 77;

}  // namespace

std::optional<ExitAtWrite::Point> ExitAtWrite::from_environment() {
  const char* const text = std::getenv("VMFERRY_EXIT_AT_WRITE");
  if (text == nullptr) return std::nullopt;
  const int write = std::atoi(text);
  if (write <= 0) return std::nullopt;
  return Point{write, std::string_view(text).find("after") == std::string_view::npos};
}

template <typename Write>
auto ExitAtWrite::counted(const char* verb, const kube::ResourceType& type,
                          const kube::ObjectKey& key, Write write) {
  const int number = ++writes_;
  // Told in any case: a test that fails must say which write it was.
  std::fprintf(stderr, "write %d: %s %s %s\n", number, verb, type.kind.c_str(),
               key.to_string().c_str());
  if (number == point_.write && point_.before) ::_exit(kExit);
  auto answer = write();
  if (number == point_.write) ::_exit(kExit);
  return answer;
}

Result<kube::Object> ExitAtWrite::create(const kube::ResourceType& type, const kube::Object& object,
                                         const kube::WriteOptions& options, std::stop_token stop) {
  return counted("create", type, object.key(),
                 [&] { return direct_.create(type, object, options, stop); });
}

Result<kube::Object> ExitAtWrite::patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                                        const nlohmann::json& merge_patch,
                                        const kube::WriteOptions& options, std::stop_token stop) {
  return counted("patch", type, key,
                 [&] { return direct_.patch(type, key, merge_patch, options, stop); });
}

Result<kube::Object> ExitAtWrite::patch_status(const kube::ResourceType& type,
                                               const kube::ObjectKey& key,
                                               const nlohmann::json& merge_patch,
                                               std::stop_token stop) {
  return counted("patch status of", type, key,
                 [&] { return direct_.patch_status(type, key, merge_patch, stop); });
}

Result<void> ExitAtWrite::remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                                 kube::Propagation propagation,
                                 const kube::Preconditions& preconditions, std::stop_token stop) {
  return counted("remove", type, key,
                 [&] { return direct_.remove(type, key, propagation, preconditions, stop); });
}

}  // namespace vmferry::cluster
