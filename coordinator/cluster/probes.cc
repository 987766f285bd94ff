#include "coordinator/cluster/probes.h"

#include <algorithm>

namespace vmferry::cluster {

std::optional<std::string> unhealthy(const LeaseLooks& looks, SteadyTime now,
                                     const ElectionSettings& settings) {
  if (now - std::max(looks.started, looks.last_try) < 30 * settings.renew) return std::nullopt;
  return "nobody has looked after the lease for minutes";
}

std::optional<std::string> unready(const LeaseLooks& looks, SteadyTime now,
                                   const ElectionSettings& settings) {
  if (looks.lost) return "not the leader any more";
  if (looks.last_look == SteadyTime{}) return "the lease was not read yet";
  if (now - looks.last_look > settings.lease) return "the API server is away";
  return std::nullopt;
}

}  // namespace vmferry::cluster
