#include "coordinator/kube/rest/watch.h"

#include <algorithm>

#include "common/backoff.h"
#include "coordinator/kube/rest/paths.h"
#include "coordinator/kube/rest/status_error.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kMaxLineBytes = 32u << 20;
constexpr std::chrono::minutes kGiveUpAfter{1};
// The server ends a watch after that long, so that watches spread over its replicas.
constexpr int kWatchSeconds = 420;

std::optional<EventType> event_type(const std::string& name) {
  if (name == "ADDED") return EventType::Added;
  if (name == "MODIFIED") return EventType::Modified;
  if (name == "DELETED") return EventType::Deleted;
  if (name == "BOOKMARK") return EventType::Bookmark;
  return std::nullopt;
}

// Another try may succeed where the server or the way to it has trouble.
bool may_pass(ErrorKind kind) {
  return kind == ErrorKind::Unavailable || kind == ErrorKind::DeadlineExceeded;
}

}  // namespace

Result<std::vector<std::string>> LineSplitter::feed(std::string_view bytes) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos;
       end = bytes.find('\n', begin)) {
    rest_ += bytes.substr(begin, end - begin);
    if (!rest_.empty()) lines.push_back(std::move(rest_));
    rest_.clear();
    begin = end + 1;
  }
  rest_ += bytes.substr(begin);
  if (rest_.size() > kMaxLineBytes) {
    return make_error(ErrorKind::ResourceExhausted, "an event is larger than {} bytes",
                      kMaxLineBytes);
  }
  return lines;
}

Object without_managed_fields(Object object) {
  json& all = object.json();
  if (const auto metadata = all.find("metadata"); metadata != all.end() && metadata->is_object()) {
    metadata->erase("managedFields");
  }
  return object;
}

RestWatch::RestWatch(ApiClient& api, const ResourceType& type, ListOptions options,
                     std::string resource_version, const Logger& log)
    : api_(api),
      type_(type),
      options_(std::move(options)),
      version_(std::move(resource_version)),
      log_(log.with({{"kind", type.kind}})) {}

Result<void> RestWatch::connect(std::stop_token stop) {
  ApiRequest request;
  request.path = collection_path(type_, options_.ns) +
                 query({{"watch", "1"},
                        {"allowWatchBookmarks", "true"},
                        {"labelSelector", options_.label_selector},
                        {"resourceVersion", version_},
                        {"timeoutSeconds", std::to_string(kWatchSeconds)}});
  request.timeout = seconds(kWatchSeconds + 60);  // should the server not end it
  lines_ = {};
  stream_ = TRY(api_.open_stream(request, stop));
  return {};
}

Result<void> RestWatch::begin(std::stop_token stop) {
  Result<void> connected = connect(stop);
  if (connected || connected.error().kind() == ErrorKind::Canceled) return connected;
  // 410 comes out of next(), as when it comes later.
  if (connected.error().kind() == ErrorKind::Aborted) return {};
  return lost(std::move(connected).error());
}

Result<void> RestWatch::lost(Error error) {
  stream_.reset();
  if (!may_pass(error.kind())) return error;
  const SteadyTime now = api_.clock().steady();
  if (failures_ == 0) failing_since_ = now;
  if (now - failing_since_ > kGiveUpAfter) {
    failures_ = 0;
    return error;
  }
  const Backoff backoff{.first = milliseconds(100), .cap = seconds(5)};
  connect_at_ = now + backoff.delay(++failures_, random_unit());
  log_.debug("watch lost, connecting again", {{"error", error.message()}});
  return {};
}

Result<void> RestWatch::add_line(const std::string& line) {
  json event = json::parse(line, nullptr, false);
  const auto name = event.is_object() ? event.find("type") : event.end();
  const auto object = event.is_object() ? event.find("object") : event.end();
  if (!event.is_object() || name == event.end() || !name->is_string() || object == event.end() ||
      !object->is_object()) {
    return make_error(ErrorKind::Unavailable, "the watch of {} sent what is no event",
                      type_.plural);
  }
  if (*name == "ERROR") return error_of_status(*object);
  const auto type = event_type(name->get<std::string>());
  if (!type) return {};  // a kind of event that is newer than we
  Object seen = without_managed_fields(Object(std::move(*object)));
  if (!seen.resource_version().empty()) version_ = seen.resource_version();
  ready_.push_back({*type, std::move(seen)});
  return {};
}

Result<void> RestWatch::read_some(milliseconds timeout, std::stop_token stop) {
  const HttpStream::Piece piece = TRY(stream_->read(timeout, stop));
  for (const std::string& line : TRY(lines_.feed(piece.bytes))) TRY(add_line(line));
  if (!piece.bytes.empty()) failures_ = 0;
  if (piece.ended) {
    return make_error(ErrorKind::Unavailable, "the watch of {} was ended by the server",
                      type_.plural);
  }
  return {};
}

Result<std::optional<WatchEvent>> RestWatch::next(milliseconds timeout, std::stop_token stop) {
  const Clock& clock = api_.clock();
  const SteadyTime until = clock.steady() + timeout;
  bool looked = false;  // a timeout of zero still reads what has arrived
  while (true) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "watch stopped");
    if (!ready_.empty()) {
      std::optional<WatchEvent> event = std::move(ready_.front());
      ready_.pop_front();
      return event;
    }
    const SteadyTime now = clock.steady();
    const auto left = std::chrono::ceil<milliseconds>(until - now);
    if (left <= milliseconds::zero() && looked) return std::optional<WatchEvent>();
    looked = true;
    if (!stream_ && now < connect_at_) {
      const auto wait = std::min<std::chrono::nanoseconds>(connect_at_ - now, until - now);
      if (wait.count() > 0) clock.sleep(wait, stop);
      continue;
    }
    Result<void> done =
        stream_ ? read_some(std::max(left, milliseconds::zero()), stop) : connect(stop);
    if (!done && done.error().kind() == ErrorKind::Canceled) return std::move(done).error();
    // What another try cannot mend is told at once: the caller lists again, so no event is missed.
    if (!done) TRY(lost(std::move(done).error()));
  }
}

}  // namespace vmferry::kube
