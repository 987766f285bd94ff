#include "coordinator/cluster/config_map_jobs.h"

#include <algorithm>
#include <charconv>

namespace vmferry::cluster {
namespace {

using kube::types::kConfigMap;
using nlohmann::json;

constexpr const char* kLabel = "vmferry.io/jobs";
constexpr const char* kMark = "vmferry.io/term";
constexpr const char* kPrefix = "vmferry-jobs-";
// A ConfigMap holds a MiB, a VM a few hundred disks.
constexpr std::size_t kLongestLine = 160;
constexpr std::size_t kLongestError = 600;

// "<import uid>/<claim>": the names of an object and of a key in it.
std::pair<std::string, std::string> places_of(const JobId& job) {
  const std::size_t slash = job.value.find('/');
  if (slash == std::string::npos) return {kPrefix + job.value, "disk"};
  return {kPrefix + job.value.substr(0, slash), job.value.substr(slash + 1)};
}

void shorten(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  text.resize(most);
}

std::string text_of(JobRecord record) {
  for (std::string& line : record.history) shorten(line, kLongestLine);
  if (record.outcome && record.outcome->error) {
    shorten(record.outcome->error->message, kLongestError);
  }
  return to_json(record);
}

const json& data_of(const kube::Object& object) {
  static const json none = json::object();
  const auto data = object.json().find("data");
  return data != object.json().end() && data->is_object() ? *data : none;
}

// "<term> <leader>"
std::string mark_of(const kube::Object& object) { return object.annotation(kMark).value_or(""); }

std::int64_t term_of(const kube::Object& object) {
  const std::string text = mark_of(object);
  std::int64_t term = 0;
  std::from_chars(text.data(), text.data() + text.size(), term);
  return term;
}

}  // namespace

ConfigMapJobs::ConfigMapJobs(kube::Reader& reader, kube::Writer& writer, std::string ns,
                             std::int64_t term, std::string leader,
                             std::function<void(std::string_view)> deposed, const Logger& log)
    : reader_(reader),
      writer_(writer),
      ns_(std::move(ns)),
      term_(term),
      leader_(std::move(leader)),
      deposed_(std::move(deposed)),
      log_(log) {}

std::string ConfigMapJobs::mark() const { return fmt::format("{} {}", term_, leader_); }

void ConfigMapJobs::remember(const kube::Object& object) {
  Known& known = known_[object.name()];
  known = {object.uid(), object.resource_version(), {}};
  for (const auto& [key, value] : data_of(object).items()) known.keys.insert(key);
}

Result<std::vector<JobRecord>> ConfigMapJobs::load(std::stop_token stop) {
  for (int tries = 1;; ++tries) {
    auto records = load_once(stop);
    // A predecessor that still writes: after its lease, that ends.
    const bool again = !records && records.error().kind() == ErrorKind::Aborted && tries < 10;
    if (!again) return records;
    log_.warn("records change while they are read", records.error());
  }
}

Result<std::vector<JobRecord>> ConfigMapJobs::load_once(std::stop_token stop) {
  const kube::ObjectList found =
      TRY(reader_.list(kConfigMap, {.ns = ns_, .label_selector = kLabel}, stop));
  // Terms go on where the highest ended, also when somebody removed the Lease.
  for (const kube::Object& object : found.items) term_ = std::max(term_, term_of(object) + 1);
  std::vector<JobRecord> records;
  for (const kube::Object& object : found.items) {
    TRY(claim(object, stop));
    for (const auto& [key, value] : data_of(object).items()) {
      auto record = job_record_from_json(value.is_string() ? value.get<std::string>() : "");
      if (!record) {
        return std::move(record).error().with_context(
            fmt::format("ConfigMap '{}', key '{}' (remove it once no agent runs its job)",
                        object.key().to_string(), key));
      }
      records.push_back(*std::move(record));
    }
  }
  return records;
}

// What is read counts only if nobody has written it since: the patch is on that very version.
Result<void> ConfigMapJobs::claim(const kube::Object& object, std::stop_token stop) {
  const auto claimed = writer_.patch(
      kConfigMap, object.key(),
      {{"metadata",
        {{"resourceVersion", object.resource_version()}, {"annotations", {{kMark, mark()}}}}}},
      {}, stop);
  if (!claimed) return claimed.error();
  remember(*claimed);
  return {};
}

Result<void> ConfigMapJobs::make(const std::string& name, const json& data, std::stop_token stop) {
  const auto made = writer_.create(kConfigMap,
                                   kube::Object(json{{"metadata",
                                                      {{"name", name},
                                                       {"namespace", ns_},
                                                       {"labels", {{kLabel, "true"}}},
                                                       {"annotations", {{kMark, mark()}}}}},
                                                     {"data", data}}),
                                   {}, stop);
  if (!made) return made.error();
  remember(*made);
  return {};
}

Result<void> ConfigMapJobs::look_again(const std::string& name, std::stop_token stop) {
  known_.erase(name);
  const auto object = TRY(kube::get_if_exists(reader_, kConfigMap, {ns_, name}, stop));
  if (!object) return {};
  if (mark_of(*object) != mark()) {
    deposed_("another coordinator has written ConfigMap '" + object->key().to_string() + "'");
    return make_error(ErrorKind::Canceled, "ConfigMap '{}' belongs to another leader",
                      object->key().to_string());
  }
  // An answer that we never got, or a person's edit.
  remember(*object);
  return {};
}

Result<void> ConfigMapJobs::save(const JobRecord& record, std::stop_token stop) {
  const auto [name, key] = places_of(record.job);
  const json data{{key, text_of(record)}};
  for (int tries = 0; tries < 3; ++tries) {
    const auto known = known_.find(name);
    if (known == known_.end()) {
      auto made = make(name, data, stop);
      if (made || made.error().kind() != ErrorKind::AlreadyExists) return made;
    } else {
      const auto patched = writer_.patch(
          kConfigMap, {ns_, name},
          {{"metadata", {{"resourceVersion", known->second.version}}}, {"data", data}}, {}, stop);
      if (patched) {
        remember(*patched);
        return {};
      }
      const ErrorKind kind = patched.error().kind();
      if (kind != ErrorKind::Aborted && kind != ErrorKind::NotFound) return patched.error();
    }
    TRY(look_again(name, stop));
  }
  return make_error(ErrorKind::Aborted, "ConfigMap '{}' changes all the time", name);
}

Result<void> ConfigMapJobs::remove(const JobId& job, std::stop_token stop) {
  const auto [name, key] = places_of(job);
  for (int tries = 0; tries < 3; ++tries) {
    const auto known = known_.find(name);
    if (known == known_.end() || !known->second.keys.contains(key)) return {};
    Result<void> done = [&]() -> Result<void> {
      if (known->second.keys.size() == 1) {
        auto removed = writer_.remove(kConfigMap, {ns_, name}, kube::Propagation::Background,
                                      {known->second.uid, known->second.version}, stop);
        if (removed) known_.erase(known);
        return removed;
      }
      const auto patched = writer_.patch(
          kConfigMap, {ns_, name},
          {{"metadata", {{"resourceVersion", known->second.version}}}, {"data", {{key, nullptr}}}},
          {}, stop);
      if (!patched) return patched.error();
      remember(*patched);
      return {};
    }();
    if (done) return done;
    const ErrorKind kind = done.error().kind();
    if (kind != ErrorKind::Aborted && kind != ErrorKind::NotFound) return done;
    TRY(look_again(name, stop));
  }
  return make_error(ErrorKind::Aborted, "ConfigMap '{}' changes all the time", name);
}

}  // namespace vmferry::cluster
