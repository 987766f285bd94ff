#include "coordinator/cluster/fenced_writer.h"

namespace vmferry::cluster {

Result<void> FencedWriter::check() const {
  if (may_write_()) return {};
  return Error(ErrorKind::Canceled, "this coordinator is not the leader any more");
}

Result<kube::Object> FencedWriter::create(const kube::ResourceType& type,
                                          const kube::Object& object,
                                          const kube::WriteOptions& options, std::stop_token stop) {
  TRY(check());
  return direct_.create(type, object, options, stop);
}

Result<kube::Object> FencedWriter::patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                                         const nlohmann::json& merge_patch,
                                         const kube::WriteOptions& options, std::stop_token stop) {
  TRY(check());
  return direct_.patch(type, key, merge_patch, options, stop);
}

Result<kube::Object> FencedWriter::patch_status(const kube::ResourceType& type,
                                                const kube::ObjectKey& key,
                                                const nlohmann::json& merge_patch,
                                                std::stop_token stop) {
  TRY(check());
  return direct_.patch_status(type, key, merge_patch, stop);
}

Result<void> FencedWriter::remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                                  kube::Propagation propagation,
                                  const kube::Preconditions& preconditions, std::stop_token stop) {
  TRY(check());
  return direct_.remove(type, key, propagation, preconditions, stop);
}

}  // namespace vmferry::cluster
