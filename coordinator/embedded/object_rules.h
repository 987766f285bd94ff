#pragma once

#include "common/clock.h"
#include "coordinator/kube/object.h"
#include "coordinator/kube/writer.h"

// What an API server does to an object between a request and its storage. Pure.
namespace vmferry::embedded {

// Kinds whose status is written apart from the rest: ours, and those of others that we write.
bool has_status_subresource(const kube::ResourceType& type);

// The object as it is stored: checked, with uid, creationTimestamp and generation, without status.
// Honours generateName (another random name on each call). InvalidArgument names the field.
Result<kube::Object> for_create(const kube::ResourceType& type, const kube::Object& object,
                                WallTime now);

// `before` after the patch; fields that a client cannot write keep their value. Aborted: the patch
// holds another resourceVersion or uid.
Result<kube::Object> patched(const kube::ResourceType& type, const kube::Object& before,
                             const nlohmann::json& merge_patch);
Result<kube::Object> status_patched(const kube::ResourceType& type, const kube::Object& before,
                                    const nlohmann::json& merge_patch);

// Aborted when `object` is another one, or has another version.
Result<void> check_preconditions(const kube::Object& object, const kube::Preconditions& wanted);

// InvalidArgument unless the key fits the type.
Result<void> check_key(const kube::ResourceType& type, const kube::ObjectKey& key);

}  // namespace vmferry::embedded
