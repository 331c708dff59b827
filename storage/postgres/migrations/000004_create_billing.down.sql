DROP TABLE transactions;
DROP TABLE subscription_plans;
