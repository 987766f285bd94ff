#include "coordinator/kube/rest/discovery.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/kube/rest/paths.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

constexpr std::chrono::minutes kPresentFor{5};
constexpr std::chrono::seconds kAbsentFor{15};

std::string text_at(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const json& member(const json& object, const char* name) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

}  // namespace

Result<Discovery::Group> Discovery::fetch(const ResourceType& type, std::stop_token stop) {
  ApiRequest request;
  request.path = group_path(type);
  const Result<json> answer = api_.call(request, stop);
  if (!answer && answer.error().kind() != ErrorKind::NotFound) return answer.error();
  Group group;
  if (answer) {
    for (const json& resource : member(*answer, "resources")) {
      group.plurals.insert(text_at(resource, "name"));
    }
  }
  const SteadyTime now = api_.clock().steady();
  group.until = now + (group.plurals.contains(type.plural) ? SteadyTime::duration(kPresentFor)
                                                           : SteadyTime::duration(kAbsentFor));
  return group;
}

Result<bool> Discovery::serves(const ResourceType& type, std::stop_token stop) {
  {
    auto groups = groups_.lock();
    const auto known = groups->find(type.api_version);
    if (known != groups->end() && api_.clock().steady() < known->second.until) {
      if (known->second.plurals.contains(type.plural)) return true;
      // Present means five minutes for what was asked then; of its neighbours we know less.
      if (known->second.until - api_.clock().steady() <= kAbsentFor) return false;
    }
  }
  Group group = TRY(fetch(type, stop));
  const bool is_served = group.plurals.contains(type.plural);
  groups_.lock()->insert_or_assign(type.api_version, std::move(group));
  return is_served;
}

Result<std::vector<std::string>> Discovery::versions(std::string_view group, std::stop_token stop) {
  ApiRequest request;
  request.path = fmt::format("/apis/{}", url_encode(group));
  const Result<json> answer = api_.call(request, stop);
  std::vector<std::string> versions;
  if (!answer) {
    if (answer.error().kind() == ErrorKind::NotFound) return versions;
    return answer.error();
  }
  const std::string preferred = text_at(member(*answer, "preferredVersion"), "version");
  if (!preferred.empty()) versions.push_back(preferred);
  for (const json& entry : member(*answer, "versions")) {
    const std::string version = text_at(entry, "version");
    if (!version.empty() && version != preferred) versions.push_back(version);
  }
  return versions;
}

Result<void> Discovery::require(const ResourceType& type, std::stop_token stop) {
  if (TRY(serves(type, stop))) return {};
  const std::vector<std::string> others = TRY(versions(type.group(), stop));
  if (others.empty()) {
    return coded_error(ErrorKind::NotFound, code::kApiMissing, "the cluster does not serve {} ({})",
                       type.plural, type.api_version);
  }
  if (std::ranges::find(others, type.version()) != others.end()) {
    return coded_error(ErrorKind::NotFound, code::kApiMissing,
                       "the cluster serves {} and no {} in it", type.api_version, type.plural);
  }
  return coded_error(ErrorKind::NotFound, code::kApiMissing,
                     "the cluster does not serve {} in version {}; of {} it has {}", type.plural,
                     type.version(), type.group(), fmt::join(others, ", "));
}

Result<std::string> Discovery::server_version(std::stop_token stop) {
  ApiRequest request;
  request.path = "/version";
  return text_at(TRY(api_.call(request, stop)), "gitVersion");
}

void Discovery::forget() { groups_.lock()->clear(); }

}  // namespace vmferry::kube
