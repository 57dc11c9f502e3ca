"""A model that keeps metrics in each way that the documentation of torchmetrics shows."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torchmetrics import MaxMetric, MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassPrecision, MulticlassRecall
from torchmetrics.wrappers import BootStrapper, ClasswiseWrapper, MetricTracker, MinMaxMetric, Running


class Patterns(pl.LightningModule):
    monitor = "val/loss"

    def __init__(self, learning_rate: float = 0.01):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(784, 10)
        self.train_loss, self.val_loss, self.test_loss = MeanMetric(), MeanMetric(), MeanMetric()
        self.val_accuracy, self.val_accuracy_best = MulticlassAccuracy(10), MaxMetric()
        metrics = {"precision": MulticlassPrecision(10), "recall": MulticlassRecall(10)}
        self.train_metrics = MetricCollection(metrics, prefix="train/")
        self.val_metrics = self.train_metrics.clone(prefix="val/")
        self.by_name = torch.nn.ModuleDict({"mean": MeanMetric()})
        self.by_number = torch.nn.ModuleList([MeanMetric(), MeanMetric()])
        self.plain_list, self.plain_dict = [MeanMetric()], {"mean": MeanMetric()}
        self.classwise = ClasswiseWrapper(MulticlassAccuracy(10, average=None))
        self.extremes = MinMaxMetric(MulticlassAccuracy(10))
        self.bootstrap = BootStrapper(MulticlassAccuracy(10), num_bootstraps=3)
        self.running = Running(MeanMetric(), window=3)
        self.tracker = MetricTracker(MulticlassAccuracy(10))
        self.composed = self.by_name["mean"] + self.by_number[0]

    def on_train_start(self):
        for metric in (self.val_loss, self.val_accuracy, self.val_accuracy_best):
            metric.reset()

    def on_train_epoch_start(self):
        self.tracker.increment()

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self.net(x.flatten(1))
        loss = F.cross_entropy(logits, y)
        self.train_loss(loss)  # with its gradient
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        self.log_dict(self.train_metrics(logits, y), on_step=True, on_epoch=False)
        for metric in (self.by_name["mean"], *self.by_number, *self.plain_list, self.plain_dict["mean"], self.running):
            metric.update(loss)
        self.log("train/by_name", self.by_name["mean"], on_step=False, on_epoch=True)
        self.log("train/running", self.running, on_step=True, on_epoch=False)
        for metric in (self.classwise, self.extremes, self.bootstrap, self.tracker):
            metric.update(logits, y)
        return loss

    def on_train_epoch_end(self):
        self.log("train/by_number", self.by_number[1].compute())
        self.log("train/composed", self.composed.compute())
        self.log("train/plain", self.plain_list[0].compute() + self.plain_dict["mean"].compute())
        self.log_dict({f"train/{name}": value for name, value in self.classwise.compute().items()})
        self.log_dict({f"train/extremes_{name}": value for name, value in self.extremes.compute().items()})
        self.log_dict({f"train/bootstrap_{name}": value for name, value in self.bootstrap.compute().items()})
        best, step = self.tracker.best_metric(return_step=True)
        self.log_dict({"train/best": best, "train/best_epoch": float(step)})
        for metric in (self.by_number[1], self.plain_dict["mean"], self.classwise, self.extremes):  # some are not reset
            metric.reset()

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.net(x.flatten(1))
        self.val_loss(F.cross_entropy(logits, y))
        self.val_accuracy(logits, y)
        self.val_metrics.update(logits, y)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val/accuracy", self.val_accuracy, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self):
        self.val_accuracy_best(self.val_accuracy.compute())
        self.log("val/accuracy_best", self.val_accuracy_best.compute(), sync_dist=True)
        self.log_dict(self.val_metrics.compute())
        self.val_metrics.reset()

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.test_loss(F.cross_entropy(self.net(x.flatten(1)), y))
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
