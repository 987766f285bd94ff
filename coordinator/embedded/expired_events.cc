#include "coordinator/embedded/expired_events.h"

#include <nlohmann/json.hpp>

namespace vmferry::embedded {
namespace {

// The last time it happened; each repetition renews it, as in the API.
std::optional<WallTime> last_time(const kube::Object& event) {
  for (const char* field : {"lastTimestamp", "eventTime", "firstTimestamp"}) {
    const auto found = event.json().find(field);
    if (found == event.json().end() || !found->is_string()) continue;
    if (const auto time = parse_rfc3339(found->get_ref<const std::string&>())) return *time;
  }
  if (const auto created = parse_rfc3339(event.creation_timestamp())) return *created;
  return std::nullopt;
}

}  // namespace

Result<std::size_t> remove_expired_events(kube::Reader& reader, kube::Writer& writer, WallTime now,
                                          std::chrono::seconds life, std::stop_token stop) {
  const kube::ObjectList events = TRY(reader.list(kube::types::kEvent, {}, stop));
  std::size_t removed = 0;
  for (const kube::Object& event : events.items) {
    const auto last = last_time(event);
    if (!last || now - *last < life) continue;
    // Only as it was read: an event that happens again just now lives on.
    const auto gone =
        writer.remove(kube::types::kEvent, event.key(), kube::Propagation::Background,
                      {.uid = event.uid(), .resource_version = event.resource_version()}, stop);
    if (gone) {
      ++removed;
    } else if (gone.error().kind() != ErrorKind::NotFound &&
               gone.error().kind() != ErrorKind::Aborted) {
      return gone.error();
    }
  }
  return removed;
}

}  // namespace vmferry::embedded
