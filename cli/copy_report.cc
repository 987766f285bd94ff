#include "cli/copy_report.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/import_view.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

// Bytes that went through this run, per second; what an earlier one did is not our speed.
double rate_of(const CopyResult& result) {
  const CopyProgress& p = result.progress;
  const std::uint64_t moved = p.moved_bytes - std::min(p.moved_bytes, p.resumed_bytes);
  return result.seconds > 0 ? static_cast<double>(moved) / result.seconds : 0;
}

}  // namespace

std::string copy_text(const CopyResult& result, double cpu_seconds) {
  const CopyProgress& p = result.progress;
  std::string text = fmt::format("{} virtual, {} data, {} zero in {:.1f} s: {}, {:.2f} s CPU\n",
                                 human_bytes(p.virtual_bytes), human_bytes(p.moved_bytes),
                                 human_bytes(p.zero_bytes), result.seconds,
                                 human_rate(rate_of(result)), cpu_seconds);
  if (p.resumed_bytes > 0) text += fmt::format("resumed: {}\n", human_bytes(p.resumed_bytes));
  if (p.source.retries + p.source.reconnects > 0) {
    text += fmt::format("healed: {} retries, {} reconnects; last: {}\n", p.source.retries,
                        p.source.reconnects, p.source.last_error);
  }
  if (!result.repaired_offsets.empty()) {
    text += fmt::format("repaired: {} chunks that differed on the target, the first at offset {}\n",
                        result.repaired_offsets.size(), result.repaired_offsets.front());
  }
  text += fmt::format("digest: {} ({}{})\n", result.digest,
                      result.verified ? "target read back and equal" : "target not read back",
                      result.source_digest_matched ? "; the server's own digest is the same" : "");
  return text;
}

std::string copy_json(const CopyResult& result, double cpu_seconds) {
  const CopyProgress& p = result.progress;
  const nlohmann::ordered_json json{{"bytes_virtual", p.virtual_bytes},
                                    {"bytes_data", p.moved_bytes},
                                    {"bytes_zero", p.zero_bytes},
                                    {"seconds", result.seconds},
                                    {"mib_per_second", rate_of(result) / static_cast<double>(kMiB)},
                                    {"cpu_seconds", cpu_seconds},
                                    {"digest", result.digest},
                                    {"verified", result.verified},
                                    {"source_digest_matched", result.source_digest_matched},
                                    {"repaired_offsets", result.repaired_offsets},
                                    {"resumed_bytes", p.resumed_bytes},
                                    {"retries", p.source.retries},
                                    {"reconnects", p.source.reconnects},
                                    {"last_error", p.source.last_error},
                                    {"requests", p.source.requests},
                                    {"wire_bytes", p.source.wire_bytes}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string copy_stopped_text(bool has_journal, const CopyProgress& last) {
  if (!has_journal) return "stopped; without --journal the next run starts from nothing\n";
  if (last.journal_saved) {
    return "stopped; the journal is saved: run the same command again to go on\n";
  }
  if (last.phase == CopyPhase::Starting) {
    return "stopped before anything was copied; the journal is as it was\n";
  }
  return fmt::format(
      "stopped; the journal could not be saved: the next run goes on from the {} that were safe "
      "before\n",
      human_bytes(last.durable_bytes));
}

std::string copy_error_json(const Error& error) {
  const nlohmann::ordered_json json{
      {"error",
       {{"code", error.code()}, {"kind", to_string(error.kind())}, {"message", error.message()}}}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string copy_progress_line(const CopyProgress& progress, double bytes_per_second) {
  const bool verifying = progress.phase == CopyPhase::Verifying;
  const std::uint64_t whole = verifying ? progress.virtual_bytes : progress.to_move_bytes;
  const std::uint64_t done =
      std::min(whole, verifying ? progress.verified_bytes : progress.moved_bytes);
  const int percent =
      whole == 0 ? 0
                 : static_cast<int>(static_cast<double>(done) * 100 / static_cast<double>(whole));
  return fmt::format("{:<10} {:3}%  {} / {}  {}  ETA {}", to_string(progress.phase), percent,
                     human_bytes(done), human_bytes(whole), human_rate(bytes_per_second),
                     eta_text(seconds_left(whole - done, bytes_per_second)));
}

}  // namespace vmferry::cli
