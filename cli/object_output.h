#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "coordinator/kube/object.h"

namespace vmferry::cli {

enum class OutputForm { Table, Wide, Yaml, Json, Name };
// "", "wide", "yaml", "json", "name". InvalidArgument else.
Result<OutputForm> parse_output_form(std::string_view text);

// A Secret with every value of data and stringData replaced by "***"; other kinds as they are. The
// annotation in which appliers keep the whole object is masked, too.
kube::Object masked(kube::Object object);

// "virtualmachineimport.v2v.kubevirt.io/web01".
std::string object_name(const kube::ResourceType& type, const std::string& name);

// One object, or a List. `as_list`: also when there is but one.
std::string objects_text(const std::vector<kube::Object>& objects, bool as_list, OutputForm form);

}  // namespace vmferry::cli
