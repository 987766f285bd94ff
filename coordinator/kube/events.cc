#include "coordinator/kube/events.h"

#include <functional>

namespace vmferry::kube {
namespace {

constexpr std::string_view kComponent = "virtualmachineimport-controller";
constexpr std::size_t kMaxMessageBytes = 1024;  // the API server refuses longer ones

// At most as long as it may be, and then it says that it has been cut.
std::string cut(std::string_view message) {
  constexpr std::string_view kMore = "...";
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  std::size_t end = kMaxMessageBytes - kMore.size();
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80)
    --end;  // whole UTF-8
  return std::string(message.substr(0, end)).append(kMore);
}

std::string event_name(const Object& about, std::string_view reason, std::string_view message) {
  const std::size_t hash =
      std::hash<std::string>{}(about.uid() + std::string(reason) + std::string(message));
  return about.name().substr(0, 200) + "." + fmt::format("{:016x}", hash);
}

}  // namespace

void EventRecorder::record(const Object& about, EventSeverity severity, std::string_view reason,
                           std::string_view message, std::stop_token stop) {
  const std::string now = to_rfc3339(clock_.wall());
  const std::string text = cut(message);
  const ObjectKey key{about.ns(), event_name(about, reason, message)};

  auto existing = get_if_exists(reader_, types::kEvent, key, stop);
  if (existing && *existing) {
    const auto count = (*existing)->json().value("count", 1) + 1;
    const auto patched =
        writer_.patch(types::kEvent, key, {{"count", count}, {"lastTimestamp", now}}, {}, stop);
    if (!patched) log_.debug("event not counted", {{"error", patched.error().message()}});
    return;
  }
  Object event(nlohmann::json{{"apiVersion", "v1"},
                              {"kind", "Event"},
                              {"metadata", {{"name", key.name}, {"namespace", key.ns}}},
                              {"involvedObject",
                               {{"apiVersion", about.api_version()},
                                {"kind", about.kind()},
                                {"name", about.name()},
                                {"namespace", about.ns()},
                                {"uid", about.uid()}}},
                              {"type", severity == EventSeverity::Normal ? "Normal" : "Warning"},
                              {"reason", reason},
                              {"message", text},
                              {"source", {{"component", kComponent}}},
                              {"firstTimestamp", now},
                              {"lastTimestamp", now},
                              {"count", 1}});
  const auto created = writer_.create(types::kEvent, event, {}, stop);
  if (!created) log_.warn("event not written", created.error(), {{"reason", reason}});
}

}  // namespace vmferry::kube
