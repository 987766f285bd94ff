#pragma once

#include <stop_token>
#include <string>

#include "common/channel.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

inline constexpr const char* kKeySecret = "vmferry-coordinator-keys";  // secret-key, public-key
inline constexpr const char* kPublished = "vmferry-coordinator";       // ConfigMap: public-key

// The CURVE keys that all coordinators of a namespace share: made at the first call, so that nobody
// has to set anything up, and published where agents mount them from. InvalidArgument: the Secret
// holds something else.
Result<CurveKeys> ensure_server_keys(kube::Reader& reader, kube::Writer& writer,
                                     const std::string& ns, std::stop_token stop);

// Mends the ConfigMap where somebody changed or removed it: agents and movers that start later read
// it. Costs nothing where `reader` has it and it is right.
Result<void> publish_key(kube::Reader& reader, kube::Writer& writer, const std::string& ns,
                         const std::string& public_key, std::stop_token stop);

}  // namespace vmferry::cluster
