#include "coordinator/fleet/job_record.h"

#include <nlohmann/json.hpp>

namespace vmferry {
namespace {

using nlohmann::json;

json outcome_to_json(const JobOutcome& outcome) {
  json value = {{"digest", outcome.digest},
                {"verified", outcome.verified},
                {"sourceDigestMatched", outcome.source_digest_matched},
                {"seconds", outcome.seconds},
                {"virtualBytes", outcome.virtual_bytes},
                {"movedBytes", outcome.moved_bytes},
                {"resumedBytes", outcome.resumed_bytes},
                {"zeroBytes", outcome.zero_bytes},
                {"verifiedBytes", outcome.verified_bytes}};
  if (!outcome.owner.empty()) value["owner"] = outcome.owner;
  if (outcome.error) {
    value["error"] = {{"kind", to_string(outcome.error->kind)},
                      {"code", outcome.error->code},
                      {"message", outcome.error->message}};
  }
  return value;
}

JobOutcome outcome_from_json(const json& value) {
  JobOutcome outcome;
  outcome.digest = value.at("digest").get<std::string>();
  outcome.verified = value.at("verified").get<bool>();
  outcome.source_digest_matched = value.at("sourceDigestMatched").get<bool>();
  outcome.seconds = value.at("seconds").get<double>();
  outcome.owner = value.value("owner", std::string());
  outcome.virtual_bytes = value.at("virtualBytes").get<std::uint64_t>();
  outcome.moved_bytes = value.at("movedBytes").get<std::uint64_t>();
  outcome.resumed_bytes = value.at("resumedBytes").get<std::uint64_t>();
  outcome.zero_bytes = value.at("zeroBytes").get<std::uint64_t>();
  outcome.verified_bytes = value.at("verifiedBytes").get<std::uint64_t>();
  if (value.contains("error")) {
    const json& error = value.at("error");
    outcome.error = protocol::WireError{error_kind_from_string(error.at("kind").get<std::string>()),
                                        error.at("code").get<std::string>(),
                                        error.at("message").get<std::string>()};
  }
  return outcome;
}

}  // namespace

std::string to_json(const JobRecord& record) {
  json value = {{"version", 1},
                {"job", record.job.value},
                {"import", record.import_key},
                {"namespace", record.ns},
                {"disk", record.disk},
                {"datastore", record.datastore},
                {"provider", record.provider},
                {"sourceHost", record.source_host},
                {"attempt", record.attempt},
                {"failures", record.failures},
                {"epoch", record.epoch},
                {"identity", record.identity},
                {"history", record.history}};
  if (record.budget != SourceBudget{}) {
    value["budget"] = {{"hostBytes", record.budget.host_bytes},
                       {"hostConnections", record.budget.host_connections},
                       {"providerConnections", record.budget.provider_connections}};
  }
  if (record.writer) {
    value["writer"] = {{"agent", record.writer->agent.value},
                       {"incarnation", record.writer->incarnation},
                       {"leaseMs", record.writer->lease.count()}};
  }
  if (record.outcome) value["outcome"] = outcome_to_json(*record.outcome);
  // Names come from outside; a byte that is no UTF-8 must not stop us from storing an attempt.
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<JobRecord> job_record_from_json(std::string_view text) {
  try {
    const json value = json::parse(text);
    JobRecord record;
    record.job.value = value.at("job").get<std::string>();
    record.import_key = value.at("import").get<std::string>();
    record.ns = value.at("namespace").get<std::string>();
    record.disk = value.at("disk").get<std::string>();
    record.datastore = value.at("datastore").get<std::string>();
    record.provider = value.at("provider").get<std::string>();
    record.source_host = value.at("sourceHost").get<std::string>();
    record.attempt = value.at("attempt").get<protocol::Attempt>();
    record.failures = value.at("failures").get<int>();
    record.history = value.at("history").get<std::vector<std::string>>();
    // Records of earlier versions have none: then the journal beside them is believed.
    record.epoch = value.value("epoch", std::string());
    record.identity = value.value("identity", std::string());
    if (value.contains("budget")) {
      const json& budget = value.at("budget");
      record.budget.host_bytes = budget.at("hostBytes").get<std::uint64_t>();
      record.budget.host_connections = budget.at("hostConnections").get<int>();
      record.budget.provider_connections = budget.at("providerConnections").get<int>();
    }
    if (value.contains("writer")) {
      const json& writer = value.at("writer");
      record.writer = Writer{AgentId{writer.at("agent").get<std::string>()},
                             writer.at("incarnation").get<std::string>(),
                             std::chrono::milliseconds(writer.at("leaseMs").get<std::int64_t>())};
    }
    if (value.contains("outcome")) record.outcome = outcome_from_json(value.at("outcome"));
    return record;
  } catch (const json::exception& error) {
    return make_error(ErrorKind::DataLoss, "job record: {}", error.what());
  }
}

}  // namespace vmferry
