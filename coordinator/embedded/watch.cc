#include "coordinator/embedded/watch.h"

#include <algorithm>

namespace vmferry::embedded {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPollEvery{50};
constexpr std::int64_t kBatch = 500;  // rows read under one lock

// The event as a watch with a selector sees it: an object that begins to match is Added, one that
// ceases to is Deleted.
std::optional<kube::EventType> seen_type(kube::EventType type, bool before, bool now) {
  if (type == kube::EventType::Deleted) {
    return before ? std::optional(type) : std::nullopt;
  }
  if (now) return before ? kube::EventType::Modified : kube::EventType::Added;
  return before ? std::optional(kube::EventType::Deleted) : std::nullopt;
}

}  // namespace

StoreWatch::StoreWatch(std::shared_ptr<Database> database, Filter filter, std::int64_t version,
                       std::vector<kube::Object> initial)
    : database_(std::move(database)), filter_(std::move(filter)), version_(version) {
  for (kube::Object& object : initial) {
    ready_.push_back({kube::EventType::Added, std::move(object)});
  }
}

Result<std::optional<kube::WatchEvent>> StoreWatch::next(milliseconds timeout,
                                                         std::stop_token stop) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "watch stopped");
    const std::uint64_t seen = database_->notifications();
    if (ready_.empty()) TRY(read_more());
    if (!ready_.empty()) {
      std::optional<kube::WatchEvent> event = std::move(ready_.front());
      ready_.pop_front();
      return event;
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left <= milliseconds::zero()) return std::optional<kube::WatchEvent>();
    database_->wait(seen, std::min(left, kPollEvery), stop);
  }
}

Result<void> StoreWatch::read_more() {
  auto connection = database_->reader().lock();
  const std::int64_t newest = TRY(current_version(*connection));
  if (newest == version_) return {};
  // The events are without gaps, so the next one tells whether any was trimmed. A version ahead of
  // the counter belongs to another store.
  Statement query = TRY(connection->prepare(
      "SELECT seq, api, type, ns, json, labels_before FROM events WHERE seq > ? ORDER BY seq "
      "LIMIT ?"));
  query.with(version_, kBatch);
  bool first = true;
  while (TRY(query.step())) {
    const std::int64_t seq = query.number(0);
    if (first && seq != version_ + 1) break;
    first = false;
    version_ = seq;
    if (query.text(1) != filter_.api) continue;
    if (!filter_.ns.empty() && query.text(3) != filter_.ns) continue;
    nlohmann::json json = nlohmann::json::parse(query.text(4), nullptr, false);
    if (!json.is_object()) return Error(ErrorKind::DataLoss, "unreadable event in object store");
    kube::Object object(std::move(json));
    bool before = !query.is_null(5);
    if (before && !filter_.selector.empty()) {
      std::map<std::string, std::string> labels;
      const nlohmann::json old = nlohmann::json::parse(query.text(5), nullptr, false);
      for (const auto& [key, value] : old.items()) labels.emplace(key, value.get<std::string>());
      before = filter_.selector.matches(labels);
    }
    const bool now = filter_.selector.matches(object.labels());
    const auto type = seen_type(static_cast<kube::EventType>(query.number(2)), before, now);
    if (type) ready_.push_back({*type, std::move(object)});
  }
  if (first) {
    return make_error(ErrorKind::Aborted, "resource version {} is too old: list again", version_);
  }
  return {};
}

}  // namespace vmferry::embedded
