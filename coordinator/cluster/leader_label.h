#pragma once

#include <stop_token>
#include <string>

#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

inline constexpr const char* kLeaderLabel = "vmferry.io/leader";

// Lets the Service lead to `pod` alone: labels it, and takes the label from every other pod of the
// namespace. False: there is no such pod (the coordinator runs outside of the cluster).
Result<bool> point_service_at(kube::Reader& reader, kube::Writer& writer, const std::string& ns,
                              const std::string& pod, std::stop_token stop);

}  // namespace vmferry::cluster
