#include "coordinator/cluster/election.h"

#include <algorithm>

namespace vmferry::cluster {
namespace {

using nlohmann::json;

// The object may be anybody's: every field is checked for its kind.
std::string text_of(const json& spec, const char* name) {
  const auto found = spec.find(name);
  return found != spec.end() && found->is_string() ? found->get<std::string>() : "";
}
std::int64_t number_of(const json& spec, const char* name) {
  const auto found = spec.find(name);
  return found != spec.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace

LeaseRecord lease_record(const kube::Object& lease) {
  LeaseRecord record;
  record.resource_version = lease.resource_version();
  const auto spec = lease.json().find("spec");
  if (spec == lease.json().end() || !spec->is_object()) return record;
  record.holder = text_of(*spec, "holderIdentity");
  record.duration = std::chrono::seconds(
      std::clamp<std::int64_t>(number_of(*spec, "leaseDurationSeconds"), 0, 3600));
  record.acquired = text_of(*spec, "acquireTime");
  record.renewed = text_of(*spec, "renewTime");
  record.transitions = std::max<std::int64_t>(0, number_of(*spec, "leaseTransitions"));
  return record;
}

Election::Move Election::look(const std::optional<LeaseRecord>& lease, SteadyTime now) {
  if (renewed_) {
    const bool ours = lease && lease->holder == settings_.identity;
    if (ours && now < *renewed_ + settings_.renew) return Move::Renew;
    return Move::Lost;
  }
  if (!lease) return Move::Create;
  if (lease != seen_) {
    seen_ = lease;
    seen_at_ = now;
  }
  // Ours: the answer to our first write was lost.
  if (lease->holder.empty() || lease->holder == settings_.identity) return Move::Take;
  const auto duration = std::max<std::chrono::milliseconds>(lease->duration, settings_.lease);
  return now - seen_at_ > duration ? Move::Take : Move::Wait;
}

json Election::spec(const std::optional<LeaseRecord>& lease, WallTime now) const {
  const std::string time = to_rfc3339_micro(now);
  const bool ours = lease && lease->holder == settings_.identity;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(settings_.lease);
  return {{"holderIdentity", settings_.identity},
          {"leaseDurationSeconds", std::max<std::int64_t>(1, seconds.count())},
          {"acquireTime", ours && !lease->acquired.empty() ? lease->acquired : time},
          {"renewTime", time},
          {"leaseTransitions", !lease ? 1 : lease->transitions + (ours ? 0 : 1)}};
}

void Election::written(SteadyTime sent, std::int64_t term) {
  renewed_ = sent;
  term_ = term;
}

std::optional<SteadyTime> Election::leads_until() const {
  if (!renewed_) return std::nullopt;
  return *renewed_ + settings_.renew;
}

}  // namespace vmferry::cluster
