#include "coordinator/embedded/store.h"

#include <charconv>

#include "coordinator/embedded/collector.h"
#include "coordinator/embedded/database.h"
#include "coordinator/embedded/object_rules.h"
#include "coordinator/embedded/rows.h"
#include "coordinator/embedded/watch.h"

namespace vmferry::embedded {
namespace {

// Random names collide once in ten million; more often, somebody else's bug.
constexpr int kNameTries = 8;

Error canceled() { return {ErrorKind::Canceled, "stopped before the object store was asked"}; }

Error not_found(const kube::ResourceType& type, const kube::ObjectKey& key) {
  return make_error(ErrorKind::NotFound, "{} '{}' does not exist", type.kind, key.to_string());
}

Result<std::int64_t> parse_version(const std::string& text) {
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size() || version < 0) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a resource version", text);
  }
  return version;
}

// Namespaces need no creation here: the first object makes its own.
Result<void> ensure_namespace(Connection& connection, const std::string& ns, WallTime now) {
  const kube::ResourceType& type = kube::types::kNamespace;
  if (ns.empty() || TRY(load(connection, api_of(type), {"", ns}))) return {};
  Row row{api_of(type),
          TRY(for_create(type, kube::Object(nlohmann::json{{"metadata", {{"name", ns}}}}), now))};
  return insert(connection, row);
}

}  // namespace

struct Store::Impl {
  std::shared_ptr<Database> database;
  const Clock& clock;

  // Runs `change` in a transaction, kept unless this is a dry run.
  template <typename Change>
  Result<kube::Object> write(bool dry_run, const Change& change);
  Result<kube::Object> patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                             const nlohmann::json& merge_patch, bool dry_run,
                             Result<kube::Object> (*apply)(const kube::ResourceType&,
                                                           const kube::Object&,
                                                           const nlohmann::json&));
};

template <typename Change>
Result<kube::Object> Store::Impl::write(bool dry_run, const Change& change) {
  std::optional<kube::Object> result;
  {
    auto connection = database->writer().lock();
    Transaction transaction = TRY(Transaction::begin(*connection));
    result = TRY(change(*connection));
    if (dry_run) return *std::move(result);
    TRY(transaction.commit());
  }
  database->notify();
  return *std::move(result);
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::string& path, const Clock& clock) {
  std::shared_ptr<Database> database = TRY(Database::open(path));
  return std::unique_ptr<Store>(
      new Store(std::unique_ptr<Impl>(new Impl{std::move(database), clock})));
}

Result<kube::Object> Store::get(const kube::ResourceType& type, const kube::ObjectKey& key,
                                std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  TRY(check_key(type, key));
  auto connection = impl_->database->reader().lock();
  std::optional<Row> row = TRY(load(*connection, api_of(type), key));
  if (!row) return not_found(type, key);
  return std::move(row->object);
}

Result<kube::ObjectList> Store::list(const kube::ResourceType& type,
                                     const kube::ListOptions& options, std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  const kube::LabelSelector selector = TRY(kube::LabelSelector::parse(options.label_selector));
  kube::ObjectList list;
  {
    auto connection = impl_->database->reader().lock();
    // One snapshot: a watch from this version continues exactly this state.
    const Transaction snapshot = TRY(Transaction::begin_read(*connection));
    list.resource_version = std::to_string(TRY(current_version(*connection)));
    list.items = TRY(load_all(*connection, api_of(type), type.namespaced ? options.ns : ""));
  }
  if (!selector.empty()) {
    std::erase_if(list.items,
                  [&](const kube::Object& object) { return !selector.matches(object.labels()); });
  }
  return list;
}

Result<std::unique_ptr<kube::Watch>> Store::watch(const kube::ResourceType& type,
                                                  const kube::ListOptions& options,
                                                  const std::string& resource_version,
                                                  std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  StoreWatch::Filter filter{.api = api_of(type),
                            .ns = type.namespaced ? options.ns : "",
                            .selector = TRY(kube::LabelSelector::parse(options.label_selector))};
  std::int64_t version = 0;
  std::vector<kube::Object> initial;
  if (resource_version.empty() || resource_version == "0") {
    // As the API: the present state first, as Added.
    kube::ObjectList now = TRY(list(type, options, stop));
    version = TRY(parse_version(now.resource_version));
    initial = std::move(now.items);
  } else {
    version = TRY(parse_version(resource_version));
  }
  return std::unique_ptr<kube::Watch>(
      new StoreWatch(impl_->database, std::move(filter), version, std::move(initial)));
}

Result<kube::Object> Store::create(const kube::ResourceType& type, const kube::Object& object,
                                   const kube::WriteOptions& options, std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  const WallTime now = impl_->clock.wall();
  return impl_->write(options.dry_run, [&](Connection& connection) -> Result<kube::Object> {
    for (int attempt = 1;; ++attempt) {
      Row row{api_of(type), TRY(for_create(type, object, now))};
      TRY(check_key(type, row.object.key()));
      if (TRY(load(connection, row.api, row.object.key()))) {
        if (object.name().empty() && attempt < kNameTries) continue;
        return make_error(ErrorKind::AlreadyExists, "{} '{}' already exists", type.kind,
                          row.object.key().to_string());
      }
      TRY(ensure_namespace(connection, row.object.ns(), now));
      TRY(insert(connection, row));
      TRY(Collector(connection, now).settle(row));
      return std::move(row.object);
    }
  });
}

Result<kube::Object> Store::Impl::patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                                        const nlohmann::json& merge_patch, bool dry_run,
                                        Result<kube::Object> (*apply)(const kube::ResourceType&,
                                                                      const kube::Object&,
                                                                      const nlohmann::json&)) {
  TRY(check_key(type, key));
  return write(dry_run, [&](Connection& connection) -> Result<kube::Object> {
    std::optional<Row> before = TRY(load(connection, api_of(type), key));
    if (!before) return not_found(type, key);
    Row after{before->api, TRY(apply(type, before->object, merge_patch))};
    // As the API: a patch that changes nothing makes no version and no event.
    if (after.object == before->object) return std::move(after.object);
    TRY(update(connection, before->object, after));
    TRY(Collector(connection, clock.wall()).settle(after));
    return std::move(after.object);
  });
}

Result<kube::Object> Store::patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                                  const nlohmann::json& merge_patch,
                                  const kube::WriteOptions& options, std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  return impl_->patch(type, key, merge_patch, options.dry_run, patched);
}

Result<kube::Object> Store::patch_status(const kube::ResourceType& type, const kube::ObjectKey& key,
                                         const nlohmann::json& merge_patch, std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  return impl_->patch(type, key, merge_patch, /*dry_run=*/false, status_patched);
}

Result<void> Store::remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                           kube::Propagation propagation, const kube::Preconditions& preconditions,
                           std::stop_token stop) {
  if (stop.stop_requested()) return canceled();
  TRY(check_key(type, key));
  const WallTime now = impl_->clock.wall();
  const auto change = [&](Connection& connection) -> Result<kube::Object> {
    std::optional<Row> row = TRY(load(connection, api_of(type), key));
    if (!row) return not_found(type, key);
    TRY(check_preconditions(row->object, preconditions));
    if (type == kube::types::kNamespace && TRY(namespace_in_use(connection, key.name))) {
      return make_error(ErrorKind::InvalidArgument,
                        "namespace '{}' still has objects: remove them first", key.name);
    }
    kube::Object removed = row->object;
    TRY(Collector(connection, now).remove(*std::move(row), propagation));
    return removed;
  };
  TRY(impl_->write(/*dry_run=*/false, change));
  return {};
}

}  // namespace vmferry::embedded
