#pragma once

#include <chrono>
#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/guarded.h"
#include "coordinator/kube/object.h"
#include "coordinator/kube/rest/api_client.h"

namespace vmferry::kube {

// Which kinds an API server serves now, for whoever was refused one (rest_client.h). CDI, KubeVirt,
// templates and the like may be installed or removed while we run, so answers are remembered for a
// short time only: the presence of a kind for five minutes, its absence for fifteen seconds.
// Thread-safe.
class Discovery {
 public:
  explicit Discovery(ApiClient& api) : api_(api) {}

  // Whether the kind is served in this very version. Errors: those of ApiClient::call but NotFound.
  Result<bool> serves(const ResourceType& type, std::stop_token stop);
  // Served versions of an API group ("cdi.kubevirt.io"), the server's preferred one first; empty:
  // not installed. For telling "not there" from "there in another version".
  Result<std::vector<std::string>> versions(std::string_view group, std::stop_token stop);
  // NotFound saying what to install or upgrade, unless the kind is served.
  Result<void> require(const ResourceType& type, std::stop_token stop);
  // "v1.35.4".
  Result<std::string> server_version(std::stop_token stop);
  // The next question goes to the server: after a 404 of a kind that was there.
  void forget();

 private:
  struct Group {
    std::set<std::string> plurals;  // of one group and version; empty: not served
    SteadyTime until{};
  };
  Result<Group> fetch(const ResourceType& type, std::stop_token stop);

  ApiClient& api_;
  Guarded<std::map<std::string, Group>> groups_;  // by "group/version"
};

}  // namespace vmferry::kube
