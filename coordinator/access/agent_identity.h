#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/kube/object.h"

// Whether an agent is the one that it says it is, from what the API server says of its token. Pure.
//
// A node's agent is a pod of our DaemonSet. A mover is a holder pod in the import's namespace,
// under whatever service account that namespace gives its pods; what counts is the pod, which the
// kubelet puts into the token, and that it belongs to an import. Whoever may make pods in a
// namespace can mount the claims and secrets there anyway, so that namespace is all that a mover is
// trusted with: it gets the disks of its own pod.
namespace vmferry::access {

struct AgentRules {
  std::string ns = "vmferry";                     // ours
  std::string service_account = "vmferry-agent";  // of the DaemonSet, there
  std::string audience = "vmferry-coordinator";   // of every token that is shown to us
};

// Whether a text may be a service account's token for us at all, by its size and by what it says of
// itself: a JWT of an issuer that is one, for a service account, our audience and a pod of the
// account's namespace, and good at `now`. Nothing is believed of it; but whoever can connect could
// else make us ask the API server about rubbish. Clocks may differ by an hour.
// PermissionDenied.
Result<void> check_token_shape(std::string_view token, const std::string& audience, WallTime now);

// Whose a token is.
struct TokenOwner {
  std::string ns, service_account;
  std::string pod_name, pod_uid;  // empty: bound to no pod
  friend bool operator==(const TokenOwner&, const TokenOwner&) = default;
};

// Out of an answered TokenReview. PermissionDenied, saying why: not authenticated, another
// audience, no service account.
Result<TokenOwner> token_owner(const kube::Object& review, const std::string& audience);

// The import that a mover's pod belongs to; nothing for a pod that is no mover.
std::optional<kube::OwnerReference> import_of(const kube::Object& pod);

// Everything that is known of who says hello.
struct Evidence {
  TokenOwner owner;
  std::optional<kube::Object> pod;     // of the token's pod name
  std::optional<kube::Object> import;  // of import_of(pod)
};
// Who it is, for logs. PermissionDenied, saying what is wrong and what to do.
Result<std::string> check_agent(const protocol::Hello& hello, const Evidence& evidence,
                                const AgentRules& rules);

// How long a token that the API server has just accepted is good for: until its own end by our
// clock, but at least a minute, should our clock be ahead, and at most its whole life, should it be
// behind. A token that does not say counts for a minute.
std::chrono::nanoseconds token_life(std::string_view token, WallTime now);

}  // namespace vmferry::access
