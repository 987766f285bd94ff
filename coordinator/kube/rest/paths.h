#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::kube {

// URL paths of the API (the origin is not part of them). Pure.
//
//   collection   /api/v1/namespaces/n/pods        /apis/kubevirt.io/v1/virtualmachines
//   object       /api/v1/namespaces/n/pods/p
std::string collection_path(const ResourceType& type, std::string_view ns);
std::string object_path(const ResourceType& type, const ObjectKey& key);
std::string group_path(const ResourceType& type);  // /api/v1, /apis/kubevirt.io/v1

// "?a=1&b=x%2Cy"; parameters without a value are left out.
std::string query(const std::vector<std::pair<std::string_view, std::string>>& parameters);

}  // namespace vmferry::kube
