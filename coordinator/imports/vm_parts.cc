#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

using nlohmann::json;

json& object_at(json& parent, const char* key) {
  json& child = parent[key];
  if (!child.is_object()) child = json::object();
  return child;
}

}  // namespace vmferry::imports
