#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/kube/object.h"

// The pod that makes scheduler and kubelet bind, attach and mount claims before there is a VM:
// what it looks like, and what its status says. Pure.
namespace vmferry::volumes {

inline constexpr std::string_view kHolderLabel = "vmferry.io/holder";  // "hold" or "move"
inline constexpr std::string_view kTargetRoot = "/target";             // a mover's claims
inline constexpr std::string_view kDeviceRoot = "/dev/vmferry";

struct HolderSettings {
  std::string image;                                     // the agent's
  std::vector<std::string> command = {"vmferry-agent"};  // in the image's PATH
  std::string image_pull_policy = "IfNotPresent";
  std::vector<std::string> image_pull_secrets;  // in the import's namespace
  // Besides the VM's own constraints; where KubeVirt runs: kubevirt.io/schedulable: "true".
  std::map<std::string, std::string> node_selector;
  // The user that KubeVirt runs VMs as. Nothing: the namespace chooses (OpenShift's restricted-v2).
  std::optional<std::int64_t> user = 107;
  std::string priority_class;
  // For movers: how they find and trust the coordinator.
  std::string coordinator_address;  // tcp://host:port, reachable from the imports' namespaces
  std::string coordinator_key;      // its public CURVE key
  std::string token_audience = "vmferry-coordinator";
};

struct HolderSpec {
  kube::ObjectKey key;
  std::vector<kube::Object> claims;
  bool mover = false;
  kube::OwnerReference owner;
  std::map<std::string, std::string> labels;
  nlohmann::json scheduling;  // as ClaimSpec::scheduling
};

kube::Object holder_pod(const HolderSpec& spec, const HolderSettings& settings);

// Where a mover finds a claim in its own pod.
std::string target_path(const std::string& claim, bool block);

struct HolderState {
  enum class Kind { Starting, Running, Ended, Leaving };
  Kind kind = Kind::Starting;
  std::string node;         // empty: not scheduled
  std::string waiting_for;  // for people, unless Running
};
HolderState holder_state(const kube::Object& pod);
bool is_mover(const kube::Object& pod);
bool holds(const kube::Object& pod, const std::string& claim);

}  // namespace vmferry::volumes
