#include "coordinator/cluster/leader_label.h"

namespace vmferry::cluster {
namespace {

using kube::types::kPod;
using nlohmann::json;

Result<void> set_label(kube::Writer& writer, const kube::ObjectKey& pod, const json& value,
                       std::stop_token stop) {
  auto patched =
      writer.patch(kPod, pod, {{"metadata", {{"labels", {{kLeaderLabel, value}}}}}}, {}, stop);
  if (!patched) return std::move(patched).error();
  return {};
}

}  // namespace

Result<bool> point_service_at(kube::Reader& reader, kube::Writer& writer, const std::string& ns,
                              const std::string& pod, std::stop_token stop) {
  const kube::ObjectList labelled =
      TRY(reader.list(kPod, {.ns = ns, .label_selector = std::string(kLeaderLabel)}, stop));
  bool is_labelled = false;
  for (const kube::Object& other : labelled.items) {
    if (other.name() == pod) {
      is_labelled = other.labels().at(kLeaderLabel) == "true";
      continue;
    }
    auto taken = set_label(writer, other.key(), nullptr, stop);
    if (!taken && taken.error().kind() != ErrorKind::NotFound) return std::move(taken).error();
  }
  if (is_labelled) return true;
  auto given = set_label(writer, {ns, pod}, "true", stop);
  if (!given && given.error().kind() == ErrorKind::NotFound) return false;
  if (!given) return std::move(given).error();
  return true;
}

}  // namespace vmferry::cluster
