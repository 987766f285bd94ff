#include "coordinator/embedded/rows.h"

#include "coordinator/embedded/database.h"

namespace vmferry::embedded {
namespace {

// Watches older than this many changes must list again.
constexpr std::int64_t kKeptEvents = 10'000;

Result<kube::Object> decoded(const std::string& text) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Error(ErrorKind::DataLoss, "the object store holds an unreadable object");
  }
  return kube::Object(std::move(json));
}

// Invalid UTF-8 becomes U+FFFD, as the API server does, rather than an exception.
std::string encoded(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Returns the seq, which becomes the object's resourceVersion.
Result<std::int64_t> append_event(Connection& connection, kube::EventType type, Row& row,
                                  const kube::Object* before) {
  const std::int64_t version = TRY(current_version(connection)) + 1;
  row.object.json()["metadata"]["resourceVersion"] = std::to_string(version);
  Statement insert = TRY(connection.prepare(
      "INSERT INTO events(seq, api, type, ns, json, labels_before) VALUES(?, ?, ?, ?, ?, ?)"));
  const auto kind = static_cast<std::int64_t>(type);
  const std::string json = encoded(row.object.json());
  if (before == nullptr) {
    TRY(insert.with(version, row.api, kind, row.object.ns(), json, nullptr).run());
  } else {
    const std::string labels = encoded(nlohmann::json(before->labels()));
    TRY(insert.with(version, row.api, kind, row.object.ns(), json, labels).run());
  }
  Statement trim = TRY(connection.prepare("DELETE FROM events WHERE seq <= ?"));
  TRY(trim.with(version - kKeptEvents).run());
  return version;
}

Result<void> drop_owners(Connection& connection, const std::string& uid) {
  Statement statement = TRY(connection.prepare("DELETE FROM owners WHERE uid = ?"));
  return statement.with(uid).run();
}

Result<void> write_owners(Connection& connection, const kube::Object& object) {
  for (const kube::OwnerReference& owner : object.owners()) {
    Statement statement =
        TRY(connection.prepare("INSERT OR IGNORE INTO owners(owner_uid, uid) VALUES(?, ?)"));
    TRY(statement.with(owner.uid, object.uid()).run());
  }
  return {};
}

Result<std::optional<Row>> first_row(Statement& query) {
  if (!TRY(query.step())) return std::optional<Row>();
  return std::optional<Row>(Row{query.text(0), TRY(decoded(query.text(1)))});
}

}  // namespace

std::string api_of(const kube::ResourceType& type) {
  const std::string group = type.group();
  return group.empty() ? type.plural : type.plural + "." + group;
}

Result<std::optional<Row>> load(Connection& connection, const std::string& api,
                                const kube::ObjectKey& key) {
  Statement query = TRY(
      connection.prepare("SELECT api, json FROM objects WHERE api = ? AND ns = ? AND name = ?"));
  return first_row(query.with(api, key.ns, key.name));
}

Result<std::optional<Row>> load_by_uid(Connection& connection, const std::string& uid) {
  Statement query = TRY(connection.prepare("SELECT api, json FROM objects WHERE uid = ?"));
  return first_row(query.with(uid));
}

Result<std::vector<kube::Object>> load_all(Connection& connection, const std::string& api,
                                           const std::string& ns) {
  Statement query =
      ns.empty()
          ? TRY(connection.prepare("SELECT json FROM objects WHERE api = ? ORDER BY ns, name"))
          : TRY(connection.prepare(
                "SELECT json FROM objects WHERE api = ? AND ns = ? ORDER BY name"));
  if (ns.empty()) {
    query.with(api);
  } else {
    query.with(api, ns);
  }
  std::vector<kube::Object> objects;
  while (TRY(query.step())) objects.push_back(TRY(decoded(query.text(0))));
  return objects;
}

Result<std::vector<Row>> load_dependents(Connection& connection, const std::string& owner_uid) {
  Statement query = TRY(connection.prepare(
      "SELECT api, json FROM objects WHERE uid IN (SELECT uid FROM owners WHERE owner_uid = ?) "
      "ORDER BY api, ns, name"));
  query.with(owner_uid);
  std::vector<Row> rows;
  while (TRY(query.step())) rows.push_back({query.text(0), TRY(decoded(query.text(1)))});
  return rows;
}

Result<bool> exists(Connection& connection, const std::string& uid) {
  Statement query = TRY(connection.prepare("SELECT 1 FROM objects WHERE uid = ?"));
  return query.with(uid).step();
}

Result<bool> namespace_in_use(Connection& connection, const std::string& ns) {
  Statement query = TRY(connection.prepare("SELECT 1 FROM objects WHERE ns = ? LIMIT 1"));
  return query.with(ns).step();
}

Result<void> insert(Connection& connection, Row& row) {
  const std::int64_t version = TRY(append_event(connection, kube::EventType::Added, row, nullptr));
  Statement statement = TRY(connection.prepare(
      "INSERT INTO objects(api, ns, name, uid, version, json) VALUES(?, ?, ?, ?, ?, ?)"));
  const kube::Object& object = row.object;
  TRY(statement
          .with(row.api, object.ns(), object.name(), object.uid(), version, encoded(object.json()))
          .run());
  return write_owners(connection, object);
}

Result<void> update(Connection& connection, const kube::Object& before, Row& row) {
  const std::int64_t version =
      TRY(append_event(connection, kube::EventType::Modified, row, &before));
  Statement statement =
      TRY(connection.prepare("UPDATE objects SET version = ?, json = ? WHERE uid = ?"));
  const kube::Object& object = row.object;
  TRY(statement.with(version, encoded(object.json()), object.uid()).run());
  if (before.owners() == object.owners()) return {};
  TRY(drop_owners(connection, object.uid()));
  return write_owners(connection, object);
}

Result<void> erase(Connection& connection, Row& row) {
  const kube::Object before = row.object;
  TRY(append_event(connection, kube::EventType::Deleted, row, &before));
  Statement statement = TRY(connection.prepare("DELETE FROM objects WHERE uid = ?"));
  TRY(statement.with(row.object.uid()).run());
  return drop_owners(connection, row.object.uid());
}

}  // namespace vmferry::embedded
