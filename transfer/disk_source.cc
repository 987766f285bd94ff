#include "transfer/disk_source.h"

namespace vmferry {

Result<std::optional<SourceDigest>> DiskSource::server_digest(std::string_view /*algorithm*/,
                                                              std::stop_token /*stop*/) {
  return std::optional<SourceDigest>{};
}

SourceTroubles DiskSource::troubles() const {
  const SourceCounters all = counters();
  return {.reconnects = all.reconnects, .retries = all.retries};
}

}  // namespace vmferry
