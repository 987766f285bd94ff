#include "coordinator/access/agent_identity.h"

#include <algorithm>
#include <array>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/kube/bounded_json.h"
#include "coordinator/volumes/cluster/holder_pod.h"

namespace vmferry::access {
namespace {

using nlohmann::json;

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";
constexpr const char* kPodName = "authentication.kubernetes.io/pod-name";
constexpr const char* kPodUid = "authentication.kubernetes.io/pod-uid";
constexpr std::chrono::seconds kLeastLife{60};
constexpr std::chrono::hours kClocksDiffer{1};  // the API server's judges, ours only filters
constexpr std::size_t kLongestIssuer = 512;
constexpr std::size_t kMaxTokenBytes = 16u << 10;
constexpr std::size_t kMaxPayloadBytes = 64u << 10;

template <typename... Args>
Error refused(fmt::format_string<Args...> format, Args&&... args) {
  return coded_error(ErrorKind::PermissionDenied, code::kAgentRefused, format,
                     std::forward<Args>(args)...);
}

json at(const json& object, const char* pointer) {
  const json::json_pointer path(pointer);
  return object.is_object() && object.contains(path) ? object.at(path) : json();
}

std::string text_at(const json& object, const char* pointer) {
  const json value = at(object, pointer);
  return value.is_string() ? value.get<std::string>() : "";
}

// status.user.extra has lists of one text each.
std::string extra(const json& review, const char* name) {
  const json all = at(review, "/status/user/extra");
  if (!all.is_object() || !all.contains(name)) return "";
  const json& values = all.at(name);
  return values.is_array() && !values.empty() && values[0].is_string() ? values[0] : "";
}

Result<std::string> check_node_agent(const protocol::Hello& hello, const kube::Object& pod,
                                     const AgentRules& rules) {
  const auto owners = pod.owners();
  const bool ours = std::ranges::any_of(owners, [](const kube::OwnerReference& owner) {
    return owner.controller && owner.kind == "DaemonSet" && owner.api_version.starts_with("apps/");
  });
  if (!ours) {
    return refused("pod '{}' runs as {}/{} and belongs to no DaemonSet", pod.key().to_string(),
                   rules.ns, rules.service_account);
  }
  const std::string node = text_at(pod.json(), "/spec/nodeName");
  if (node.empty() || hello.node != node) {
    return refused("says that it runs on node '{}', and its pod '{}' runs on '{}'", hello.node,
                   pod.key().to_string(), node);
  }
  if (hello.agent.value != node) {
    return refused("calls itself '{}'; the agent of node '{}' has its node's name",
                   hello.agent.value, node);
  }
  return fmt::format("pod {} on node {}", pod.key().to_string(), node);
}

Result<std::string> check_mover(const protocol::Hello& hello, const Evidence& evidence) {
  const kube::Object& pod = *evidence.pod;
  const auto import = import_of(pod);
  if (!import) {
    return refused("pod '{}' is neither an agent of ours nor a mover of an import",
                   pod.key().to_string());
  }
  if (!evidence.import || evidence.import->uid() != import->uid) {
    return refused("pod '{}' belongs to import '{}', which does not exist", pod.key().to_string(),
                   import->name);
  }
  if (hello.node != protocol::mover_node(pod.uid()) || hello.agent.value != "mover-" + pod.uid()) {
    return refused("calls itself '{}' on '{}', and its token is that of pod '{}' with uid {}",
                   hello.agent.value, hello.node, pod.key().to_string(), pod.uid());
  }
  return fmt::format("mover {} of import {}", pod.key().to_string(), import->name);
}

// Header, claims and signature of a JWT, as they are written.
std::optional<std::array<std::string_view, 3>> parts_of(std::string_view token) {
  std::array<std::string_view, 3> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t dot = token.find('.');
    if ((dot == token.npos) != (i == 2)) return std::nullopt;  // too few, too many
    parts[i] = token.substr(0, dot);
    const bool is_base64url = std::ranges::all_of(parts[i], [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == '_';
    });
    if (parts[i].empty() || parts[i].size() > kMaxPayloadBytes || !is_base64url) {
      return std::nullopt;
    }
    token.remove_prefix(dot == token.npos ? token.size() : dot + 1);
  }
  return parts;
}

json decoded(std::string_view part) {
  std::string text(part);
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  text.resize((text.size() + 3) / 4 * 4, '=');
  const auto bytes = base64_decode(text);
  return bytes ? kube::parse_bounded_json(*bytes, kMaxPayloadBytes, 16) : json();
}

std::optional<std::int64_t> number(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  if (!(value > 0 && value < 1e11)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

// `account`: "namespace:name" of its subject.
Result<void> check_bound_to_pod(const json& claims, std::string_view account) {
  const json bound = at(claims, "/kubernetes.io");
  const std::string ns = text_at(bound, "/namespace");
  if (text_at(bound, "/pod/name").empty() || text_at(bound, "/pod/uid").empty()) {
    return refused("its token is bound to no pod; use a projected one");
  }
  if (ns.empty() || account != ns + ":" + text_at(bound, "/serviceaccount/name")) {
    return refused("what it shows is no service account token (JWT): its subject is another");
  }
  return {};
}

}  // namespace

Result<TokenOwner> token_owner(const kube::Object& review, const std::string& audience) {
  const json& all = review.json();
  if (at(all, "/status/authenticated") != json(true)) {
    const std::string why = text_at(all, "/status/error");
    return refused("the API server does not accept its token{}{}", why.empty() ? "" : ": ",
                   why.substr(0, 400));
  }
  const json audiences = at(all, "/status/audiences");
  if (!audiences.is_array() || std::ranges::find(audiences, json(audience)) == audiences.end()) {
    return refused("its token is not for audience '{}'", audience);
  }
  const std::string user = text_at(all, "/status/user/username");
  const std::size_t colon =
      user.starts_with(kAccountPrefix) ? user.find(':', kAccountPrefix.size()) : std::string::npos;
  if (colon == std::string::npos) return refused("'{}' is no service account", user);
  return TokenOwner{.ns = user.substr(kAccountPrefix.size(), colon - kAccountPrefix.size()),
                    .service_account = user.substr(colon + 1),
                    .pod_name = extra(all, kPodName),
                    .pod_uid = extra(all, kPodUid)};
}

std::optional<kube::OwnerReference> import_of(const kube::Object& pod) {
  if (!volumes::is_mover(pod)) return std::nullopt;
  for (const kube::OwnerReference& owner : pod.owners()) {
    const kube::ResourceType& type = kube::types::kVirtualMachineImport;
    if (owner.controller && owner.kind == type.kind &&
        owner.api_version.starts_with(type.group() + "/")) {
      return owner;
    }
  }
  return std::nullopt;
}

Result<std::string> check_agent(const protocol::Hello& hello, const Evidence& evidence,
                                const AgentRules& rules) {
  const TokenOwner& owner = evidence.owner;
  if (owner.pod_name.empty() || owner.pod_uid.empty()) {
    return refused("the token of {}/{} is bound to no pod; use a projected one", owner.ns,
                   owner.service_account);
  }
  if (!evidence.pod || evidence.pod->uid() != owner.pod_uid) {
    return refused("its pod '{}/{}' does not exist any more", owner.ns, owner.pod_name);
  }
  const std::string phase = text_at(evidence.pod->json(), "/status/phase");
  if (phase == "Succeeded" || phase == "Failed") {
    return refused("its pod '{}' has ended", evidence.pod->key().to_string());
  }
  const bool of_node = owner.ns == rules.ns && owner.service_account == rules.service_account;
  if (of_node) return check_node_agent(hello, *evidence.pod, rules);
  return check_mover(hello, evidence);
}

Result<void> check_token_shape(std::string_view token, const std::string& audience, WallTime now) {
  if (token.empty()) return refused("shows no token");
  if (token.size() > kMaxTokenBytes) {
    return refused("shows a token of {} bytes; a service account's is smaller", token.size());
  }
  const auto parts = parts_of(token);
  if (!parts) return refused("what it shows is no service account token (JWT)");
  const json header = decoded((*parts)[0]);
  const json claims = decoded((*parts)[1]);
  const std::string subject = text_at(claims, "/sub");
  if (text_at(header, "/alg").empty() || !subject.starts_with(kAccountPrefix)) {
    return refused("what it shows is no service account token (JWT)");
  }
  const json meant = at(claims, "/aud");
  const bool for_us = meant == json(audience) ||
                      (meant.is_array() && std::ranges::find(meant, json(audience)) != meant.end());
  if (!for_us) return refused("its token is not for audience '{}'", audience);
  // A URL or any word (--service-account-issuer).
  const std::string issuer = text_at(claims, "/iss");
  const bool is_issuer = !issuer.empty() && issuer.size() <= kLongestIssuer &&
                         std::ranges::all_of(issuer, [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_issuer) return refused("what it shows is no service account token (JWT): no issuer");
  const auto end = claims.is_object() ? number(claims, "exp") : std::nullopt;
  if (!end) return refused("its token does not say when it ends; use a projected one");
  if (WallTime(std::chrono::seconds(*end)) + kClocksDiffer < now) {
    return refused("its token has run out");
  }
  return check_bound_to_pod(claims, subject.substr(kAccountPrefix.size()));
}

std::chrono::nanoseconds token_life(std::string_view token, WallTime now) {
  const auto parts = parts_of(token);
  if (!parts) return kLeastLife;
  const json claims = decoded((*parts)[1]);
  const auto end = claims.is_object() ? number(claims, "exp") : std::nullopt;
  if (!end) return kLeastLife;
  const auto left =
      std::chrono::seconds(*end) - std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
  const auto begin = number(claims, "iat");
  const std::chrono::seconds whole(begin && *begin < *end ? *end - *begin : 3600);
  return std::max<std::chrono::seconds>(kLeastLife, std::min<std::chrono::seconds>(left, whole));
}

}  // namespace vmferry::access
