#include "coordinator/fleet/renewals.h"

#include <exception>
#include <utility>

namespace vmferry {

Renewals::Renewals(RenewHandler handler, Logger log, Mailbox<RenewalAnswer>& answers)
    : handler_(std::move(handler)),
      log_(std::move(log)),
      answers_(answers),
      thread_([this](std::stop_token stop) { run(stop); }) {}

void Renewals::ask(std::string peer, protocol::RenewRequest request) {
  {
    const std::lock_guard lock(mutex_);
    if (!known_.insert({request.job, request.attempt, request.sequence}).second) return;
    questions_.push_back({std::move(peer), std::move(request)});
  }
  asked_.notify_one();
}

Result<RenewedSource> Renewals::renew(const JobId& job, std::stop_token stop) const {
  if (!handler_) {
    return Error(ErrorKind::Unimplemented, "this source's credentials cannot be renewed");
  }
  try {
    return handler_(job, stop);
  } catch (const std::exception& error) {
    return make_error(ErrorKind::Internal, "renewing failed: {}", error.what());
  }
}

void Renewals::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    Question question;
    {
      std::unique_lock lock(mutex_);
      if (!asked_.wait(lock, stop, [this] { return !questions_.empty(); })) return;
      question = std::move(questions_.front());
      questions_.pop_front();
    }
    const protocol::RenewRequest& request = question.request;
    log_.info("source credentials are renewed",
              {{"job", request.job.value}, {"reason", request.why.message}});
    Result<RenewedSource> source = renew(request.job, stop);
    RenewalAnswer answer{std::move(question.peer),
                         {request.job, request.attempt, request.sequence, {}, {}}};
    if (source) {
      answer.renewed.source = std::move(source->endpoint);
      answer.source_host = std::move(source->source_host);
    } else {
      log_.warn("cannot renew source credentials", source.error(), {{"job", request.job.value}});
      answer.renewed.error = protocol::WireError::from(source.error());
    }
    answers_.put(std::move(answer));
    // Asked again after this, the answer was lost on its way.
    const std::lock_guard lock(mutex_);
    known_.erase({request.job, request.attempt, request.sequence});
  }
}

}  // namespace vmferry
