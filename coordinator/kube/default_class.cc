#include "coordinator/kube/default_class.h"

#include <algorithm>

namespace vmferry::kube {

DefaultClass default_class(const std::vector<NamedClass>& classes) {
  DefaultClass virt, plain;
  for (const auto& [name, object] : classes) {
    const auto marked = [&](const char* mark) { return object->annotation(mark) == "true"; };
    if (marked(kVirtDefaultClass)) virt.names.emplace_back(name);
    if (marked(kDefaultClass) || marked(kBetaDefaultClass)) plain.names.emplace_back(name);
  }
  DefaultClass& result = virt.none() ? plain : virt;
  std::ranges::sort(result.names);
  return std::move(result);
}

DefaultClass default_class(const std::vector<Object>& classes) {
  std::vector<std::string> names;
  names.reserve(classes.size());  // the views below stay valid
  std::vector<NamedClass> named;
  for (const Object& item : classes) named.push_back({names.emplace_back(item.name()), &item});
  return default_class(named);
}

}  // namespace vmferry::kube
