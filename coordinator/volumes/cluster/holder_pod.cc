#include "coordinator/volumes/cluster/holder_pod.h"

#include <algorithm>

#include "coordinator/volumes/cluster/claim_objects.h"

namespace vmferry::volumes {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxReason = 400;

json container_security() {
  return {{"allowPrivilegeEscalation", false},
          {"readOnlyRootFilesystem", true},
          {"runAsNonRoot", true},
          {"capabilities", {{"drop", {"ALL"}}}},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}

// The group that owns block devices of nodes (udev's rules). Unless the runtime gives a device to
// the pod's user, this is how a mover may open its own; a container sees no other.
constexpr int kDiskGroup = 6;

json pod_security(const HolderSpec& spec, const HolderSettings& settings) {
  json security{{"runAsNonRoot", true}, {"seccompProfile", {{"type", "RuntimeDefault"}}}};
  if (settings.user) {
    security["runAsUser"] = *settings.user;
    security["runAsGroup"] = *settings.user;
    // Kubelet and driver give the volume to the group that the VM will have, once and here.
    security["fsGroup"] = *settings.user;
    security["fsGroupChangePolicy"] = "OnRootMismatch";
  }
  if (spec.mover && std::ranges::any_of(spec.claims, is_block_claim)) {
    security["supplementalGroups"] = {kDiskGroup};
  }
  return security;
}

// A quota may demand limits; the sizes are what was measured, rounded up generously.
json resources(bool mover) {
  if (mover) {
    return {{"requests", {{"cpu", "100m"}, {"memory", "128Mi"}}},
            {"limits", {{"cpu", "2"}, {"memory", "512Mi"}}}};
  }
  return {{"requests", {{"cpu", "5m"}, {"memory", "16Mi"}}},
          {"limits", {{"cpu", "50m"}, {"memory", "64Mi"}}}};
}

void make_mover(json& pod, json& container, const HolderSpec& spec,
                const HolderSettings& settings) {
  container["args"] = {"move",
                       "--coordinator",
                       settings.coordinator_address,
                       "--server-key",
                       settings.coordinator_key,
                       "--key-file",
                       "/state/key",
                       "--state",
                       "/state/agent",
                       "--token-file",
                       "/var/run/vmferry/token",
                       "--slots",
                       std::to_string(spec.claims.size())};
  container["env"] =
      json::array({{{"name", "VMFERRY_POD_UID"},
                    {"valueFrom", {{"fieldRef", {{"fieldPath", "metadata.uid"}}}}}}});
  container["volumeMounts"].push_back({{"name", "state"}, {"mountPath", "/state"}});
  container["volumeMounts"].push_back(
      {{"name", "token"}, {"mountPath", "/var/run/vmferry"}, {"readOnly", true}});
  pod["volumes"].push_back({{"name", "state"}, {"emptyDir", {{"sizeLimit", "1Gi"}}}});
  pod["volumes"].push_back({{"name", "token"},
                            {"projected",
                             {{"sources",
                               {{{"serviceAccountToken",
                                  {{"path", "token"},
                                   {"audience", settings.token_audience},
                                   {"expirationSeconds", 3600}}}}}}}}});
}

void add_claims(json& pod, json& container, const std::vector<kube::Object>& claims) {
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const std::string volume = "disk-" + std::to_string(i);
    const std::string claim = claims[i].name();
    const bool block = is_block_claim(claims[i]);
    pod["volumes"].push_back({{"name", volume}, {"persistentVolumeClaim", {{"claimName", claim}}}});
    const std::string path = target_path(claim, block);
    if (block) {
      container["volumeDevices"].push_back({{"name", volume}, {"devicePath", path}});
    } else {
      container["volumeMounts"].push_back({{"name", volume}, {"mountPath", path}});
    }
  }
}

// What the VM's pod template says about nodes, and nothing else of it.
void add_scheduling(json& pod, const HolderSpec& spec, const HolderSettings& settings) {
  const json& wanted = spec.scheduling;
  for (const char* field :
       {"nodeSelector", "affinity", "tolerations", "schedulerName", "topologySpreadConstraints"}) {
    if (wanted.is_object() && wanted.contains(field)) pod[field] = wanted.at(field);
  }
  for (const auto& [key, value] : settings.node_selector) {
    // The VM's own word counts more.
    if (!pod["nodeSelector"].contains(key)) pod["nodeSelector"][key] = value;
  }
  if (pod.contains("nodeSelector") && pod["nodeSelector"].empty()) pod.erase("nodeSelector");
  if (!settings.priority_class.empty()) pod["priorityClassName"] = settings.priority_class;
}

json owner_json(const kube::OwnerReference& owner) {
  return {{"apiVersion", owner.api_version},
          {"kind", owner.kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", true},
          {"blockOwnerDeletion", owner.block_owner_deletion}};
}

std::string text_at(const json& object, const char* pointer) {
  const json::json_pointer path(pointer);
  return object.contains(path) && object.at(path).is_string() ? object.at(path).get<std::string>()
                                                              : std::string();
}

const json& list_at(const json& object, const char* pointer) {
  static const json empty = json::array();
  const json::json_pointer path(pointer);
  return object.contains(path) && object.at(path).is_array() ? object.at(path) : empty;
}

std::string shortened(std::string text) {
  if (text.size() > kMaxReason) text = text.substr(0, kMaxReason) + "...";
  return text;
}

std::string unscheduled_reason(const json& pod) {
  for (const json& condition : list_at(pod, "/status/conditions")) {
    if (text_at(condition, "/type") == "PodScheduled" && text_at(condition, "/status") == "False") {
      return shortened(text_at(condition, "/message"));
    }
  }
  return "";
}

// How a container ended the last time: its last words are its log's.
std::string last_end(const json& status) {
  const json::json_pointer code("/lastState/terminated/exitCode");
  if (!status.contains(code) || !status.at(code).is_number_integer()) return "";
  const std::string message = text_at(status, "/lastState/terminated/message");
  return fmt::format("; it ended with code {}{}", status.at(code).get<std::int64_t>(),
                     message.empty() ? "" : ": " + message);
}

// The first container's reason to wait: image pull errors, crashes and the like.
std::string container_reason(const json& pod) {
  for (const json& status : list_at(pod, "/status/containerStatuses")) {
    const std::string reason = text_at(status, "/state/waiting/reason");
    if (reason.empty()) continue;
    const std::string message = text_at(status, "/state/waiting/message");
    return shortened((message.empty() ? reason : reason + ": " + message) + last_end(status));
  }
  return "";
}

}  // namespace

std::string target_path(const std::string& claim, bool block) {
  return std::string(block ? kDeviceRoot : kTargetRoot) + "/" + claim;
}

kube::Object holder_pod(const HolderSpec& spec, const HolderSettings& settings) {
  json container{{"name", "holder"},
                 {"image", settings.image},
                 {"imagePullPolicy", settings.image_pull_policy},
                 {"command", settings.command},
                 {"args", {"hold"}},
                 {"resources", resources(spec.mover)},
                 {"securityContext", container_security()},
                 {"terminationMessagePolicy", "FallbackToLogsOnError"}};
  json pod{{"automountServiceAccountToken", false},
           {"enableServiceLinks", false},
           {"restartPolicy", "Always"},
           {"terminationGracePeriodSeconds", spec.mover ? 10 : 2},
           {"securityContext", pod_security(spec, settings)},
           {"volumes", json::array()}};
  add_claims(pod, container, spec.claims);
  if (spec.mover) make_mover(pod, container, spec, settings);
  add_scheduling(pod, spec, settings);
  for (const std::string& name : settings.image_pull_secrets) {
    pod["imagePullSecrets"].push_back({{"name", name}});
  }
  pod["containers"] = json::array({std::move(container)});

  json labels(spec.labels);
  if (labels.is_null()) labels = json::object();
  labels["app.kubernetes.io/name"] = "vmferry";
  labels["app.kubernetes.io/component"] = "holder";
  labels[std::string(kHolderLabel)] = spec.mover ? "move" : "hold";
  // A mesh's sidecar would outlive us and keep the claim.
  labels["sidecar.istio.io/inject"] = "false";
  return kube::Object({{"apiVersion", "v1"},
                       {"kind", "Pod"},
                       {"metadata",
                        {{"name", spec.key.name},
                         {"namespace", spec.key.ns},
                         {"labels", std::move(labels)},
                         {"annotations",
                          {{"sidecar.istio.io/inject", "false"},
                           {"linkerd.io/inject", "disabled"},
                           {"cluster-autoscaler.kubernetes.io/safe-to-evict", "false"}}},
                         {"ownerReferences", json::array({owner_json(spec.owner)})}}},
                       {"spec", std::move(pod)}});
}

bool is_mover(const kube::Object& pod) {
  const auto labels = pod.labels();
  const auto mode = labels.find(std::string(kHolderLabel));
  return mode != labels.end() && mode->second == "move";
}

bool holds(const kube::Object& pod, const std::string& claim) {
  for (const json& volume : list_at(pod.json(), "/spec/volumes")) {
    if (text_at(volume, "/persistentVolumeClaim/claimName") == claim) return true;
  }
  return false;
}

HolderState holder_state(const kube::Object& pod) {
  using Kind = HolderState::Kind;
  const json& all = pod.json();
  HolderState state;
  state.node = text_at(all, "/spec/nodeName");
  const std::string phase = text_at(all, "/status/phase");
  const std::string name = "holder pod '" + pod.key().to_string() + "'";
  if (pod.deleting()) {
    state.kind = Kind::Leaving;
    state.waiting_for = name + " to end";
    if (!state.node.empty()) {
      state.waiting_for += " on node '" + state.node +
                           "' (if that node is gone for good, remove its Node object or taint it "
                           "node.kubernetes.io/out-of-service)";
    }
    return state;
  }
  if (phase == "Failed" || phase == "Succeeded") {
    state.kind = Kind::Ended;
    const std::string reason = text_at(all, "/status/reason");
    state.waiting_for =
        "a new holder pod; '" + pod.key().to_string() + "' has ended" +
        (reason.empty() ? ""
                        : " (" + reason + ": " + shortened(text_at(all, "/status/message")) + ")");
    return state;
  }
  if (phase == "Running") {
    state.kind = Kind::Running;
    const std::string reason = container_reason(all);
    if (!reason.empty()) state.waiting_for = name + " to run: " + reason;
    return state;
  }
  if (state.node.empty()) {
    const std::string reason = unscheduled_reason(all);
    state.waiting_for =
        name + (reason.empty() ? " to be scheduled" : " to be scheduled: " + reason);
    return state;
  }
  const std::string reason = container_reason(all);
  state.waiting_for =
      name + " to start on node '" + state.node + "'" +
      (reason.empty() || reason == "ContainerCreating"
           ? " (attaching and mounting its volumes; see its events if this takes long)"
           : ": " + reason);
  return state;
}

}  // namespace vmferry::volumes
