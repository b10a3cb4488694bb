"""The discriminant head learns on angles and answers with the posterior of Gaussians of one covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lorastream.heads import CosineHead, DiscriminantHead
from lorastream.heads.shared_covariance import SharedCovariance

WIDTH = 5


def _head(*sizes: int) -> DiscriminantHead:
    head = DiscriminantHead(WIDTH, scale=16.0).double()
    for task, size in enumerate(sizes):
        head.grow(size, generator=torch.Generator().manual_seed(task), device=torch.device("cpu"))
    return head.double()


def _features(classes: int, n: int = 40) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    mixing = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    noise = torch.randn(classes, n, WIDTH, generator=generator, dtype=torch.float64)
    return list(noise @ mixing + 2 * torch.randn(classes, 1, WIDTH, generator=generator, dtype=torch.float64))


def test_differences_of_logits_are_those_of_the_gaussians_log_likelihoods() -> None:
    statistics = SharedCovariance()
    statistics.put(0, _features(4))
    head = _head(3, 1)
    head.tell_apart(statistics)
    asked = torch.randn(6, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    covariance = statistics.within_class().numpy()
    expected = np.stack(
        [multivariate_normal(m.double().numpy(), covariance).logpdf(asked) for m in statistics.means], 1
    )
    logits = head(asked).detach().numpy()
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], rtol=1e-6, atol=1e-6)


def test_it_answers_as_scikit_learns_discriminant_with_the_same_covariance() -> None:
    features = _features(3)
    statistics = SharedCovariance()
    statistics.put(0, features)
    head = _head(3)
    head.tell_apart(statistics)

    class Given:
        """A covariance estimator that has made up its mind."""

        def fit(self, _: object) -> Given:
            self.covariance_ = statistics.within_class().numpy()
            return self

    reference = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Given(), priors=[1 / 3] * 3)
    reference.fit(torch.cat(features).numpy(), np.repeat(np.arange(3), 40))
    asked = torch.randn(200, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3
    ours = torch.softmax(head(asked), dim=1).detach().numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(asked.numpy()), atol=1e-5)


def test_two_classes_worked_by_hand() -> None:
    """Means (1, 0) and (-1, 0), covariance 2 I: the logits differ by f · (2, 0) / 2 = f_1."""
    statistics = SharedCovariance(
        torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([10**7, 10**7]), 2 * torch.eye(2)
    )
    head = DiscriminantHead(2)
    head.grow(2, generator=torch.Generator(), device=torch.device("cpu"))
    head.tell_apart(statistics)
    logits = head(torch.tensor([[0.7, 5.0]])).detach()
    assert float(logits[0, 0] - logits[0, 1]) == pytest.approx(0.7)
    assert float(logits.sum()) == pytest.approx(-0.5)  # each bias is -1/4, and the mean of the means is 0


def test_where_no_class_has_two_images_the_nearest_mean_answers() -> None:
    statistics = SharedCovariance()
    statistics.put(0, _features(3, n=1))
    head = _head(3)
    head.tell_apart(statistics)
    asked = statistics.means.double() + 0.01
    assert head(asked).argmax(dim=1).tolist() == [0, 1, 2]


def test_while_it_learns_its_logits_are_cosines() -> None:
    head, cosine = _head(2, 2), CosineHead(WIDTH, scale=16.0).double()
    for task in range(2):
        cosine.grow(2, generator=torch.Generator().manual_seed(task), device=torch.device("cpu"))
    asked = torch.randn(3, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(head(asked, learning=True), cosine.double()(asked))
    torch.testing.assert_close(head(asked, since=2, learning=True), cosine(asked)[:, 2:])
    assert not torch.allclose(head(asked), cosine(asked))
