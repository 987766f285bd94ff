#include "coordinator/fleet/renewals.h"

#include <exception>
#include <utility>

namespace vmferry {

Renewals::Renewals(RenewHandler handler, Logger log, Mailbox<RenewalAnswer>& answers)
    : handler_(std::move(handler)), log_(std::move(log)), answers_(answers) {}

Renewals::~Renewals() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();  // joined before what they use is gone
}

void Renewals::ask(const std::string& source, std::string peer, protocol::RenewRequest request) {
  {
    const std::lock_guard lock(mutex_);
    if (!known_.insert({request.job, request.attempt, request.sequence}).second) return;
    const auto [of_source, is_new] = questions_.try_emplace(source);
    of_source->second.push_back({std::move(peer), std::move(request)});
    if (!is_new) return;  // whoever asks that source comes to it
    due_.push_back(source);
    if (due_.size() > idle_ && threads_.size() < kThreads) {
      threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
    }
  }
  asked_.notify_one();
}

Result<RenewedSource> Renewals::renew(const JobId& job, const std::stop_token& stop) const {
  if (!handler_) {
    return Error(ErrorKind::Unimplemented, "this source's credentials cannot be renewed");
  }
  try {
    return handler_(job, stop);
  } catch (const std::exception& error) {
    return make_error(ErrorKind::Internal, "renewing failed: {}", error.what());
  }
}

void Renewals::answer(Question question, const std::stop_token& stop) {
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
}

void Renewals::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    ++idle_;
    const bool is_asked = asked_.wait(lock, stop, [this] { return !due_.empty(); });
    --idle_;
    if (!is_asked) return;
    const std::string name = std::exchange(due_.front(), {});
    due_.pop_front();
    Question question = std::move(questions_.at(name).front());
    questions_.at(name).pop_front();
    const Key key{question.request.job, question.request.attempt, question.request.sequence};

    lock.unlock();
    answer(std::move(question), stop);
    lock.lock();
    // Asked again after this, the answer was lost on its way.
    known_.erase(key);
    // The next of that source comes after those of others.
    if (questions_.at(name).empty()) {
      questions_.erase(name);
    } else {
      due_.push_back(name);
    }
  }
}

}  // namespace vmferry
