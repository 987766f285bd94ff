#include "coordinator/kube/reader.h"

namespace vmferry::kube {

Result<SharedObjects> Reader::list_shared(const ResourceType& type, const ListOptions& options,
                                          std::stop_token stop) {
  SharedObjects shared;
  for (Object& object : TRY(list(type, options, std::move(stop))).items) {
    shared.push_back(std::make_shared<const Object>(std::move(object)));
  }
  return shared;
}

Result<std::optional<Object>> get_if_exists(Reader& reader, const ResourceType& type,
                                            const ObjectKey& key, std::stop_token stop) {
  Result<Object> object = reader.get(type, key, stop);
  if (object) return std::optional<Object>(*std::move(object));
  if (object.error().kind() == ErrorKind::NotFound) return std::optional<Object>();
  return std::move(object).error();
}

}  // namespace vmferry::kube
