#include "coordinator/kube/reader.h"

namespace vmferry::kube {

Result<std::optional<Object>> get_if_exists(Reader& reader, const ResourceType& type,
                                            const ObjectKey& key, std::stop_token stop) {
  Result<Object> object = reader.get(type, key, stop);
  if (object) return std::optional<Object>(*std::move(object));
  if (object.error().kind() == ErrorKind::NotFound) return std::optional<Object>();
  return std::move(object).error();
}

}  // namespace vmferry::kube
