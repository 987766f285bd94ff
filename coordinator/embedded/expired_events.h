#pragma once

#include <chrono>

#include "common/clock.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::embedded {

// How long the API server keeps an event by default (--event-ttl).
inline constexpr std::chrono::hours kEventLife{1};

// Removes the events that did not happen again for `life`; answers how many. An event without a
// readable time stays.
Result<std::size_t> remove_expired_events(kube::Reader& reader, kube::Writer& writer, WallTime now,
                                          std::chrono::seconds life, std::stop_token stop);

}  // namespace vmferry::embedded
