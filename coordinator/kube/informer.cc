#include "coordinator/kube/informer.h"

#include <exception>

#include "common/backoff.h"

namespace vmferry::kube {

Informer::Informer(Reader& reader, const ResourceType& type, Handlers handlers, const Clock& clock,
                   const Logger& log)
    : reader_(reader),
      type_(type),
      handlers_(std::move(handlers)),
      clock_(clock),
      log_(log.with({{"kind", type.kind}})),
      thread_([this](std::stop_token stop) { run(stop); }) {}

void Informer::run(std::stop_token stop) {
  const Backoff backoff{.first = std::chrono::milliseconds(200), .cap = std::chrono::seconds(15)};
  int failures = 0;
  while (!stop.stop_requested()) {
    const SteadyTime started = clock_.steady();
    auto ended = [&]() -> Result<void> {
      try {
        return follow(stop);
      } catch (const std::exception& failure) {
        return make_error(ErrorKind::Internal, "watching failed: {}", failure.what());
      }
    }();
    if (stop.stop_requested()) return;
    if (clock_.steady() - started > std::chrono::minutes(1)) failures = 0;
    if (!ended && ended.error().kind() != ErrorKind::Aborted) {
      log_.warn("watch ended, listing again", ended.error());
    }
    if (!clock_.sleep(backoff.delay(++failures, random_unit()), stop)) return;
  }
}

Result<void> Informer::follow(std::stop_token stop) {
  const ObjectList list = TRY(reader_.list(type_, {}, stop));
  for (const Object& object : list.items) handlers_.on_object(object);
  const auto watch = TRY(reader_.watch(type_, {}, list.resource_version, stop));
  while (!stop.stop_requested()) {
    const std::optional<WatchEvent> event = TRY(watch->next(std::chrono::seconds(30), stop));
    if (!event || event->type == EventType::Bookmark) continue;
    if (event->type == EventType::Deleted) {
      if (handlers_.on_deleted) handlers_.on_deleted(event->object);
    } else {
      handlers_.on_object(event->object);
    }
  }
  return {};
}

}  // namespace vmferry::kube
