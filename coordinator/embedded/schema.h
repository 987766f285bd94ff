#pragma once

#include <string>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::embedded {

// A structural schema (apiextensions.k8s.io/v1, openAPIV3Schema) of one kind, as the API server
// uses it. Knows type, properties, additionalProperties, items, required, enum, nullable, lengths,
// pattern, minimum, maximum, format date-time, oneOf of `required`, list maps,
// preserve-unknown-fields and int-or-string; a schema with anything else is refused.
class Schema {
 public:
  // From a CustomResourceDefinition as JSON. InvalidArgument names what cannot be understood.
  static Result<Schema> of_storage_version(const nlohmann::json& definition);

  // Removes fields that the schema does not know, then checks the rest. InvalidArgument lists every
  // problem with its path: "spec.targetVmName: must have at most 63 characters".
  Result<void> prune_and_validate(nlohmann::json& object) const;

 private:
  explicit Schema(nlohmann::json root) : root_(std::move(root)) {}
  nlohmann::json root_;
};

// The schema of one of our kinds, from the same files that deploy/ installs, built in. Null for
// kinds of others.
const Schema* schema_of(const kube::ResourceType& type);

}  // namespace vmferry::embedded
